"""``facexfer export``: write a network as an ONNX file, or as a bundle with its evidence."""

from pathlib import Path
from typing import Annotated, Any

import typer


def export(
    model: Annotated[Path, typer.Option(help="A run folder, or foreign weights with --backbone.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write, or the folder of a bundle to make of a run.")],
    backbone: Annotated[str | None, typer.Option(help="The network's name, for foreign weights.")] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Of a bundle: fp32, fp16, int8, int8-dynamic. The first is shipped, more are measured."),
    ] = None,
) -> None:
    """Write pixels 0..255 RGB in, embedding out: one file for --out NAME.onnx, else a bundle that passed the gate."""
    from facexfer.backbones import create_backbone
    from facexfer.deploy.onnx_export import export_onnx
    from facexfer.errors import InputError
    from facexfer.runs import load_backbone

    if backbone is None and not model.is_dir():
        raise InputError(f"{model}: expected a run folder, or weights with --backbone NAME; check the path")
    if not out.parent.is_dir():
        raise InputError(f"{out}: expected an existing folder, {out.parent} is none; make it first")
    if out.suffix != ".onnx":
        if backbone is not None:
            raise InputError(f"{out}: expected a run for a bundle, got foreign weights; give a path ending in .onnx")
        from facexfer.tasks.bundle import make_bundle

        make_bundle(model, out, precision or ["fp32"], _show)
        typer.echo(f"{out}: written")
        return
    if precision is not None:
        raise InputError(f"{out}: expected a folder beside --precision, got a file; a single file is fp32")
    network = load_backbone(model) if backbone is None else create_backbone(backbone, weights=model)
    difference = export_onnx(network, out)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, within {difference:.1e} of torch")


def _show(row: Any) -> None:
    one, many = row.milliseconds
    typer.echo(
        f"{row.precision}: {row.megabytes:.2f} MB; CPU {one:.1f} ms for 1, {many:.1f} ms for 32; largest embedding "
        f"difference {row.difference:.1e}"
    )
    for each in row.differences:
        if each is not None:
            low, high = each.ci95
            typer.echo(
                f"  FAR {each.far:g}: TAR {100 * each.second:.2f} %, run {100 * each.first:.2f} %, difference "
                f"{100 * each.difference:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
            )
