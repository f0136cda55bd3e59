"""``facexfer learning-curve``: what more people or more photos of each would gain, from runs on parts of the data."""

import json
from pathlib import Path
from typing import Annotated

import typer


def learning_curve(
    grid: Annotated[str, typer.Argument(help="A TOML file: recipe, methods, fractions of people and images.")],
    out: Annotated[Path, typer.Option(help="Where to; finished runs in it are kept.")],
    jobs: Annotated[int, typer.Option(help="Runs at a time.", min=1)] = 1,
) -> None:
    """Train on parts of the people and images, and predict what more of either gains; again, it runs what is left."""
    from facexfer.commands.generated_faces import prepare_grid_faces
    from facexfer.comparison.cells import only_one_in, run_cells
    from facexfer.comparison.learning_curve import comparison_of, points_of, read_curve_grid
    from facexfer.errors import RunError
    from facexfer.files.atomic import write_text
    from facexfer.reports.learning_curve import describe_curve, draw_learning_curves, sentence
    from facexfer.reports.saving import save_figure

    read = read_curve_grid(grid)
    with only_one_in(out):
        if read.generated is not None:
            prepare_grid_faces(read.generated, out / "faces")
        compared = comparison_of(read)
        outcomes = run_cells(compared, out, jobs, typer.echo)
        failed = [each for each in outcomes if each.failure]
        if failed:
            raise RunError(
                f"{len(failed)} of {len(outcomes)} runs failed, the first: {failed[0].failure}; run it again"
            )
        found = {method: describe_curve(points_of(compared, outcomes, method), read.worth) for method in read.methods}
        write_text(out / "learning-curve.json", json.dumps(found, indent=2) + "\n")
        save_figure(draw_learning_curves(found, read.figure), out, "learning-curve")
    typer.echo("\n".join(sentence(method, each) for method, each in found.items()))
