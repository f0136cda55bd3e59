"""``facexfer export``: write a network as an ONNX file."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[Path, typer.Option(help="A run folder, or foreign weights with --backbone.")],
    out: Annotated[Path, typer.Option(help="The ONNX file to write.")],
    backbone: Annotated[str | None, typer.Option(help="The network's name, for foreign weights.")] = None,
) -> None:
    """Write a network as an ONNX file: pixels 0..255 RGB in, embedding out, any batch size."""
    from facexfer.backbones import create_backbone
    from facexfer.deploy.onnx_export import export_onnx
    from facexfer.errors import InputError
    from facexfer.runs import load_backbone

    if backbone is None and not model.is_dir():
        raise InputError(f"{model}: expected a run folder, or weights with --backbone NAME; check the path")
    if not out.parent.is_dir():
        raise InputError(f"{out}: expected an existing folder, {out.parent} is none; make it first")
    network = load_backbone(model) if backbone is None else create_backbone(backbone, weights=model)
    difference = export_onnx(network, out)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, within {difference:.1e} of torch")
