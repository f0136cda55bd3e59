"""``facexfer plan``: how many people and images a test set needs, before any is collected."""

from typing import Annotated

import typer


def plan(
    identities: Annotated[int, typer.Option(help="People in the test set.", min=2)],
    images: Annotated[int, typer.Option(help="Images of each person.", min=2)],
    far: Annotated[float, typer.Option(help="The false accept rate to claim, as a fraction.")] = 1e-3,
    tar: Annotated[float, typer.Option(help="The true accept rate that you hope for, in percent.")] = 95.0,
    width: Annotated[
        float | None, typer.Option(help="How wide the 95 % interval of TAR may be, in points: says how many people.")
    ] = None,
) -> None:
    """Say what a test set of a given size can show: rules, intervals to expect, people needed for a narrower one."""
    from facexfer.eval.design import Design, describe_design

    found = describe_design(Design(identities, images), far, tar / 100, None if width is None else width / 100)
    typer.echo("\n".join(found))
