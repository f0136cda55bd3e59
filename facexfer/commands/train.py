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
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
) -> None:
    """Train a network by a recipe into a run folder."""
    # Imported here, so that --help and bad options answer at once.
    from facexfer import training
    from facexfer.recipe import read_recipe

    training.train(read_recipe(recipe, settings or []), out, resume)
