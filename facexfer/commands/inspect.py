"""``facexfer inspect``: what a file of weights is."""

from pathlib import Path
from typing import Annotated

import typer

from facexfer.commands.outputs import show_unchecked


def inspect(
    file: Annotated[Path, typer.Argument(help="Weights, an MXNet symbol, an ONNX file, a run or a bundle.")],
) -> None:
    """Identify the network in a file, without running any code in it."""
    from facexfer.deploy.contract import CONTRACT, read_contract
    from facexfer.deploy.inspection import inspect_path

    facts = inspect_path(file)
    rows = {
        "format": facts.format,
        "network": facts.network,
        "embedding": facts.embedding_size,
        "input": facts.input,
        "normalisation": facts.normalisation,
        "parameters": None if facts.parameters is None else f"{facts.parameters:,}",
        "origin": facts.origin,
        "licence": facts.licence or "unknown",
        "remark": facts.remark,
        "load with": f'create_backbone("{facts.network}", weights="{file.name}")'
        if facts.network and "symbol" not in facts.format and file.is_file() and file.name != CONTRACT
        else "",
    }
    folder = file.parent if file.name == CONTRACT else file
    if (folder / CONTRACT).is_file():
        show_unchecked(folder, read_contract(folder).unchecked())
    typer.echo(file)
    for name, value in rows.items():
        if value not in (None, ""):
            typer.echo(f"  {name:14} {value}")
