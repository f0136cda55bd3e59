"""``facexfer train``: run a recipe."""

from pathlib import Path
from typing import Annotated

import typer


def _list_recipes(wanted: bool) -> None:
    if wanted:
        from facexfer.commands.recipe_list import recipe_lines

        typer.echo("\n".join(recipe_lines()))
        raise typer.Exit


def train(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a packaged recipe such as nir-csd.")],
    out: Annotated[Path, typer.Option(help="The run folder to make, or with --resume the one to continue.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change a value of the recipe: section.key=value; section.key= takes it out. Takes several."
        ),
    ] = None,
    devices: Annotated[
        str | None, typer.Option(help="runtime.devices: processes on this machine, one per GPU.")
    ] = None,
    num_nodes: Annotated[int | None, typer.Option(help="runtime.num_nodes: the number of machines.")] = None,
    precision: Annotated[str | None, typer.Option(help="runtime.precision: bf16-mixed, for example.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="runtime.compile: compile the training step.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint.")] = False,
    listed: Annotated[
        bool,
        typer.Option("--list", is_eager=True, callback=_list_recipes, help="List the packaged recipes, then stop."),
    ] = False,
) -> None:
    """Train a network as a recipe says, into a run folder.

    A recipe is a TOML file: your own, or a packaged one by its name; --list lists them.
    For your own photos start with nir-csd (NIR and VIS; nir-csd-edgeface from EdgeFace) or nir-afa (NIR only).
    --set changes a value; each run folder keeps its complete recipe.toml.
    """
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
