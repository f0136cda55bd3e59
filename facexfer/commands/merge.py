"""``facexfer merge``: manifests of both spectra as one."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer


def merge(
    manifests: Annotated[
        list[Path],
        typer.Argument(help="Two or more manifests; they are not changed. The first one's splits count most."),
    ],
    out: Annotated[Path, typer.Option(help="The new manifest, a CSV; it refers to the same pictures.")],
) -> None:
    """Write one manifest of several, e.g. of NIR and VIS pictures, with every person in one split.

    Pictures without a split follow their person; people whom no manifest puts into a split go to the split 'pool'.
    """
    from facexfer.data.merge import merge_manifests

    merged = merge_manifests(manifests, out)
    counts = Counter((image.modality, image.split) for image in merged.manifest.images)
    for modality in sorted({modality for modality, _ in counts}):
        parts = [f"{count:,} {split}" for (name, split), count in sorted(counts.items()) if name == modality]
        typer.echo(f"{modality}: {', '.join(parts)}")
    if merged.moved:
        typer.echo(f"{merged.moved:,} pictures were in another split than the one that their person is in now")
    typer.echo(f"Written: {out}")
