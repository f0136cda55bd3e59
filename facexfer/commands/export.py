"""``facexfer export``: write a network as an ONNX file, or as a bundle with its measurements."""

from pathlib import Path
from typing import Annotated, Any

import typer


def export(
    out: Annotated[Path, typer.Option(help="The .onnx file to write, or the folder of the bundle to make from a run.")],
    run: Annotated[Path | None, typer.Argument(help="A run folder.")] = None,
    model: Annotated[Path | None, typer.Option(help="A run folder, or other weights together with --backbone.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="The network's name, for weights that are not facexfer's.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="For a bundle: fp32, fp16, int8, int8-dynamic. The first is shipped; all must pass the gate."
        ),
    ] = None,
    far: Annotated[
        float | None,
        typer.Option(
            help="For a bundle: decide at this FAR. Default: the lowest with 30 false accepts behind it, else "
            "the highest that the data supports."
        ),
    ] = None,
    opset: Annotated[int | None, typer.Option(help="The ONNX operator set, 11 to 23.")] = None,
    batch: Annotated[int | None, typer.Option(help="A fixed number of images, for compilers that need one.")] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(help="For a bundle: the loss of TAR to accept, as a fraction. Default: 0.001; for int8, 0.01."),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(help="Of a bundle: also a file for each of these runtimes, openvino or openvino:int8."),
    ] = None,
    gallery_model: Annotated[
        Path | None,
        typer.Option(help="For a bundle: the network that embeds those who are enrolled; the run's embeds the probes."),
    ] = None,
    gallery_backbone: Annotated[str | None, typer.Option(help="Its network's name, for foreign weights.")] = None,
    even_if_failed: Annotated[
        bool, typer.Option("--even-if-failed", help="Export even a run that diverged or ended far below its source.")
    ] = False,
    flip: Annotated[
        bool, typer.Option("--flip", help="Let the file add the embedding of the mirrored crop, for twice the time.")
    ] = False,
    detector: Annotated[
        Path | None, typer.Option(help="For a bundle: an InsightFace detector to include, for its FaceAnalysis.")
    ] = None,
) -> None:
    """Write an ONNX file (RGB 0..255 in, embedding out), or a bundle with its measurements if it passes the gate."""
    from facexfer.deploy.contract import read_contract
    from facexfer.deploy.export import export as write
    from facexfer.errors import InputError

    source = run if run is not None else model
    if source is None or (run is not None and (model is not None or backbone is not None)):
        raise InputError("expected a run folder, or --model WEIGHTS with --backbone NAME; give one of them")
    written = write(
        source, out, backbone=backbone, precision=precision, far=far, opset=opset, batch=batch, max_loss=max_loss,
        detector=detector, runtime=tuple(runtime or ()), gallery_model=gallery_model,
        gallery_backbone=gallery_backbone, even_if_failed=even_if_failed, flip=flip, say=show_row,
        say_runtime=show_runtime_file,
    )  # fmt: skip
    if written.difference is None:
        typer.echo(f"{out}: written")
        contract = read_contract(out)
        if far is None and contract.remark:
            typer.echo(f"it decides at FAR {contract.far:g}, and few pairs tell where: {contract.remark}")
        if runtime:
            best = contract.content["recommended"]
            typer.echo(
                f"fastest here: {best['runtime']}:{best['precision']}, {best['milliseconds']:.1f} ms for one crop; "
                "embeddings and TAR passed"
            )
    else:
        typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, within {written.difference:.1e} of torch")


def show_row(row: Any) -> None:
    """Print what the gate measured of one file.

    Args:
        row: A `facexfer.deploy.gate.GateRow`.
    """
    typer.echo(
        f"{row.precision}: {row.megabytes:.2f} MB; {show_latencies(row.latencies)}; largest embedding difference "
        f"{row.difference:.1e}"
    )
    for each in row.differences:
        if each is not None:
            low, high = each.ci95
            typer.echo(
                f"  FAR {each.far:g}: TAR {100 * each.second:.2f} %, run {100 * each.first:.2f} %, difference "
                f"{100 * each.difference:+z.2f} ({100 * low:+z.2f} to {100 * high:+z.2f})"
            )
    typer.echo(f"  peak memory {row.peak_megabytes:.0f} MB")


def show_runtime_file(file: Any) -> None:
    """Print what the gate measured of one runtime's file.

    Args:
        file: A `facexfer.deploy.runtime_files.RuntimeFile`.
    """
    if file.row is None:
        typer.echo(f"{file.name}: converted, not measured; on the device: {file.on_device}")
    else:
        show_row(file.row)


def show_latencies(latencies: Any) -> str:
    """Write latencies in one line: milliseconds by provider and batch."""
    return ", ".join(
        f"{each.provider.removesuffix('ExecutionProvider')} {each.milliseconds:.1f} ms for {each.batch}"
        + ("" if each.threads is None else f" on {each.threads} thread")
        for each in latencies
    )
