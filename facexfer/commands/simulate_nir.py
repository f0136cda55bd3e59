"""``facexfer simulate-nir``: a NIR rendering of every visible-light crop."""

from pathlib import Path
from typing import Annotated

import typer


def simulate_nir(
    crops: Annotated[
        Path,
        typer.Argument(
            help="Aligned VIS crops: a folder that facexfer prepare has written, a manifest, or one folder per person."
        ),
    ],
    strength: Annotated[str, typer.Option(help="mild or strong.")],
    out: Annotated[Path, typer.Option(help="A new folder for both modalities and their manifest, images.csv.")],
    modality: Annotated[str, typer.Option(help="Which images of a manifest to render.")] = "vis",
) -> None:
    """Write a simulated NIR rendering of each VIS crop, and one manifest of both.

    Whole photos are cropped by facexfer prepare first.
    """
    from facexfer.commands.prepare import progress_bar
    from facexfer.data.manifest import read_manifest
    from facexfer.data.preparation.simulated_set import NIR, write_simulated_set

    with progress_bar() as bar:
        task = bar.add_task("crops", total=None)
        manifest = write_simulated_set(
            crops, out, strength, modality, lambda done, total: bar.update(task, completed=done, total=total)
        )
    written = read_manifest(manifest).select(modality=NIR)
    typer.echo(f"{manifest}: {len(written.images):,} crops in VIS and NIR, {len(written.identities):,} identities")
    typer.echo("note: the NIR pictures are simulated; measure on real ones before you rely on a network")
