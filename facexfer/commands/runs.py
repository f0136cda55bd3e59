"""``facexfer runs``: the runs of a folder side by side."""

from pathlib import Path
from typing import Annotated

import typer

from facexfer.errors import InputError


def runs(
    folder: Annotated[Path, typer.Argument(help="A folder that holds run folders, at any depth.")],
) -> None:
    """List runs with their figures, how far they got, and the settings in which they differ."""
    from facexfer.runs.listing import list_runs

    listed = list_runs(folder)
    for run in listed:
        if run.unreadable is not None:
            typer.echo(f"{run.name}: cannot be read: {run.unreadable}")
            continue
        typer.echo(f"{run.name}: {'finished' if run.finished else 'not finished'}, {run.steps} steps")
        if run.failure is not None:
            typer.echo(f"    failed: {run.failure}")
        if run.settings:
            typer.echo("    " + "  ".join(f"{key}={_text(value)}" for key, value in run.settings.items()))
        for pairs, values in _by_pairs(run.figures).items():
            typer.echo(f"    {pairs:<14} {values}")
    count = f"{len(listed)} run{'s' * (len(listed) != 1)}"
    typer.echo(f"{count}; the settings are those in which their recipes differ; rates in %, losses as they are.")
    if damaged := [run.name for run in listed if run.unreadable is not None]:
        raise InputError(
            f"{folder}: expected runs that can be read, {len(damaged)} of {len(listed)} cannot: {', '.join(damaged)}; "
            "mend or remove them"
        )


def _text(value: object) -> str:
    return "default" if value is None else str(value)


def _by_pairs(figures: dict[str, float | None]) -> dict[str, str]:
    """Join the figures of the same pairs: ``nir -> tar@0.01 96.1  tar@0.001 90.1``."""
    from facexfer.eval.classification import is_loss

    grouped: dict[str, list[str]] = {}
    for name, value in figures.items():
        pairs, _, figure = name.rpartition("/")
        shown = "unsupported" if value is None else f"{value if is_loss(name) else 100 * value:.2f}"
        grouped.setdefault(pairs, []).append(f"{figure} {shown}")
    return {pairs: "  ".join(parts) for pairs, parts in grouped.items()}
