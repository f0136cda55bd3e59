"""``facexfer compare``: methods x networks x data sets x seeds, and their tables."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    grid: Annotated[str, typer.Argument(help="A TOML file, or the name of a packaged grid.")],
    out: Annotated[Path, typer.Option(help="The comparison's folder; finished runs in it are kept.")],
    jobs: Annotated[int, typer.Option(help="Runs at a time.", min=1)] = 1,
) -> None:
    """Run a grid of methods, networks and seeds, with tables after every run.

    When repeated, it runs only what is missing.
    """
    from facexfer.commands.generated_faces import prepare_grid_faces
    from facexfer.comparison.cells import Outcome, only_one_in, run_cells
    from facexfer.comparison.grid import read_grid
    from facexfer.comparison.table import draw_table, write_tables
    from facexfer.errors import RunError
    from facexfer.reports.saving import save_figure

    read = read_grid(grid)
    known: list[Outcome] = []

    def show(outcomes: list[Outcome]) -> None:
        known[:] = outcomes
        write_tables(read, outcomes, out)

    with only_one_in(out):
        if read.generated is not None:
            prepare_grid_faces(read.generated, out / "faces")
        try:
            outcomes = run_cells(read, out, jobs, typer.echo, show)
        finally:
            if known:
                save_figure(draw_table(read, known), out, "table")
    typer.echo((out / "table.md").read_text(encoding="utf-8"))
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    if failed:
        raise RunError(
            f"{failed} of {len(outcomes)} runs failed; {out / 'table.md'} says why; repeat the command to continue"
        )
