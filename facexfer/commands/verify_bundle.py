"""``facexfer verify-bundle``: is a bundle here what it was where it was made?"""

from pathlib import Path
from typing import Annotated

import typer


def verify_bundle(
    folder: Annotated[Path, typer.Argument(help="The bundle.")],
    manifest: Annotated[Path, typer.Option(help="The images on which it was measured.")],
) -> None:
    """Measure a bundle's file on this machine and compare with what the bundle says."""
    from facexfer.tasks import bundle

    for far, said, now in bundle.verify_bundle(folder, manifest):
        typer.echo(f"FAR {far:g}: TAR {100 * now:.2f} %, the bundle says {100 * said:.2f} %")
    typer.echo(f"{folder}: as it was measured")
