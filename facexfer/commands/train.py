"""``facexfer train``: run a recipe."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a packaged recipe.")],
    out: Annotated[Path, typer.Option(help="The run folder to make, or with --resume to go on with.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change one value: section.key=value. May come again.")
    ] = None,
    devices: Annotated[str | None, typer.Option(help="runtime.devices: processes on this machine, one a GPU.")] = None,
    num_nodes: Annotated[int | None, typer.Option(help="runtime.num_nodes: machines.")] = None,
    precision: Annotated[str | None, typer.Option(help="runtime.precision: bf16-mixed, for example.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="runtime.compile: compile the step.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
) -> None:
    """Train a network by a recipe into a run folder."""
    # Imported here, so that --help and bad options answer at once.
    from facexfer.engine import train as engine
    from facexfer.recipe import read_recipe

    shorthands = {
        "devices": devices,
        "num_nodes": num_nodes,
        "precision": None if precision is None else f'"{precision}"',
        "compile": "true" if compiled else None,
    }
    given = [f"runtime.{name}={value}" for name, value in shorthands.items() if value is not None]
    engine.train(read_recipe(recipe, [*(settings or []), *given]), out, resume)
