"""``facexfer split``: several draws of a protocol, as manifests of their own."""

from pathlib import Path
from typing import Annotated

import typer


def split(
    manifest: Annotated[Path, typer.Argument(help="The manifest to split; it is not changed.")],
    protocol: Annotated[str, typer.Option(help="polyu-nirfd, identity-disjoint, vis-nir or vis-nir-one.")],
    out: Annotated[Path, typer.Option(help="A folder for one manifest per draw, and draws.json.")],
    draws: Annotated[
        int, typer.Option(min=1, help="How many draws; the spread of their figures shows how much depends on the draw.")
    ] = 5,
    val_identities: Annotated[
        int | None, typer.Option(help="How many identities to hold out. Default: a fifth.")
    ] = None,
    failures: Annotated[
        Path | None,
        typer.Option(
            help="The failures.csv next to the manifest, so that people without any crop take part in the draw."
        ),
    ] = None,
) -> None:
    """Draw the validation identities several times, each draw as a manifest that a recipe can name."""
    from facexfer.data.draws import write_draws

    for draw in write_draws(manifest, out, protocol, draws, val_identities, failures):
        counts = ", ".join(f"{draw.splits.count(part):,} {part}" for part in sorted(set(draw.splits)))
        typer.echo(f"{out / draw.name}.csv: {counts}; fingerprint {draw.fingerprint[:16]}")
