"""``facexfer export``: write a network as an ONNX file, or as a bundle with its evidence."""

from pathlib import Path
from typing import Annotated, Any

import typer


def export(
    out: Annotated[Path, typer.Option(help="The .onnx file to write, or the folder of a bundle to make of a run.")],
    run: Annotated[Path | None, typer.Argument(help="A run folder.")] = None,
    model: Annotated[Path | None, typer.Option(help="A run folder, or foreign weights with --backbone.")] = None,
    backbone: Annotated[str | None, typer.Option(help="The network's name, for foreign weights.")] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Of a bundle: fp32, fp16, int8, int8-dynamic. The first is shipped, all must pass the gate."),
    ] = None,
    far: Annotated[
        float | None,
        typer.Option(help="Of a bundle: decide by the threshold of this FAR; the lowest sound one if not."),
    ] = None,
    opset: Annotated[int | None, typer.Option(help="The set of ONNX operators, 11 to 23.")] = None,
    batch: Annotated[int | None, typer.Option(help="A fixed number of images, for compilers that need one.")] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(help="Of a bundle: TAR that may be lost, a fraction; 0.001, for int8 0.01 if not."),
    ] = None,
    even_if_failed: Annotated[
        bool, typer.Option("--even-if-failed", help="Also a run that diverged or ended far below its source.")
    ] = False,
    detector: Annotated[
        Path | None, typer.Option(help="Of a bundle: an InsightFace detector to put in, for its FaceAnalysis.")
    ] = None,
) -> None:
    """Write pixels 0..255 RGB in, embedding out: one file for --out NAME.onnx, else a bundle that passed the gate."""
    from facexfer.errors import InputError

    source = run if run is not None else model
    if source is None or (run is not None and (model is not None or backbone is not None)):
        raise InputError("expected a run folder, or --model WEIGHTS with --backbone NAME; give one of them")
    if backbone is None and not source.is_dir():
        raise InputError(f"{source}: expected a run folder, or weights with --backbone NAME; check the path")
    if not out.parent.is_dir():
        raise InputError(f"{out}: expected an existing folder, {out.parent} is none; make it first")
    if backbone is None and not even_if_failed:
        from facexfer.runs.folder import RunFolder

        RunFolder(source).check_not_failed("train anew, or give --even-if-failed to export it all the same")
    if out.suffix == ".onnx":
        if precision is not None or far is not None or max_loss is not None or detector is not None:
            raise InputError(
                f"{out}: expected a folder beside --precision, --far, --max-loss and --detector, got a file; a single "
                "file is fp32"
            )
        _write_file(source, backbone, out, opset, batch)
        return
    if backbone is not None:
        raise InputError(f"{out}: expected a run for a bundle, got foreign weights; give a path ending in .onnx")
    from facexfer.deploy.bundle import Order, make_bundle

    order = Order(tuple(precision or ("fp32",)), far, opset, batch, max_loss, detector)
    make_bundle(source, out, order, show_row)
    typer.echo(f"{out}: written")


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
                f"{100 * each.difference:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
            )


def show_latencies(latencies: Any) -> str:
    """Write latencies in one line: milliseconds by provider and batch."""
    return ", ".join(
        f"{each.provider.removesuffix('ExecutionProvider')} {each.milliseconds:.1f} ms for {each.batch}"
        for each in latencies
    )


def _write_file(source: Path, backbone: str | None, out: Path, opset: int | None, batch: int | None) -> None:
    from facexfer.backbones import create_backbone
    from facexfer.deploy.onnx_export import export_onnx
    from facexfer.runs.folder import load_backbone

    network = load_backbone(source) if backbone is None else create_backbone(backbone, weights=source)
    difference = export_onnx(network, out, opset, batch)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, within {difference:.1e} of torch")
