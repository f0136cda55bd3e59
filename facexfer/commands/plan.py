"""``facexfer plan``: how many people and images to collect, for a test set or for training."""

import json
from pathlib import Path
from typing import Annotated

import typer

from facexfer.errors import InputError


def plan(
    parts: Annotated[
        str | None,
        typer.Argument(help="For training data: a TOML file with recipe, methods, fractions of people and images."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With PARTS: the folder of its runs; finished ones in it are kept.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="With PARTS: runs at a time.", min=1)] = 1,
    identities: Annotated[int | None, typer.Option(help="For a test set: its people.", min=2)] = None,
    images: Annotated[int | None, typer.Option(help="For a test set: images of each person.", min=2)] = None,
    far: Annotated[
        float | None, typer.Option(help="For a test set: the FAR to claim, as a fraction. Default: 1e-3.")
    ] = None,
    tar: Annotated[
        float | None, typer.Option(help="For a test set: the TAR that you hope for, in percent. Default: 95.")
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(help="For a test set: how wide the 95 % interval of TAR may be, in points; says how many people."),
    ] = None,
) -> None:
    """Say how many people and images to collect.

    For a test set, from its size alone: rules, intervals to expect, people needed for narrower ones. For training, from
    runs on parts of your data: what more people or more photos of each would gain; when repeated, it runs only what is
    missing.
    """
    of_test_set = {
        "--identities": identities, "--images": images, "--far": far, "--tar": tar, "--width": width,
    }  # fmt: skip
    given = ", ".join(name for name, value in of_test_set.items() if value is not None)
    if parts is not None:
        if given:
            raise InputError(f"expected PARTS alone, or {given} without it; they plan different sets")
        if out is None:
            raise InputError(f"expected --out with {parts}, got none; name the folder of the runs")
        _learn(parts, out, jobs)
        return
    if out is not None or jobs != 1:
        raise InputError("expected PARTS with --out and --jobs, got none; a test set is planned without runs")
    if identities is None or images is None:
        raise InputError(
            "expected --identities and --images of a test set, or a TOML file of parts to train on; give one of them"
        )
    if tar is not None and 0 < tar <= 1:
        raise InputError(f"expected --tar in percent, above 1, got {tar:g}; write 95 for 95 %")
    from facexfer.eval.design import Design, describe_design

    found = describe_design(
        Design(identities, images),
        1e-3 if far is None else far,
        0.95 if tar is None else tar / 100,
        None if width is None else width / 100,
    )
    typer.echo("\n".join(found))


def _learn(parts: str, out: Path, jobs: int) -> None:
    """Train on the parts, write the curves, and say what more data would gain."""
    from facexfer.commands.generated_faces import prepare_grid_faces
    from facexfer.comparison.cells import only_one_in, run_cells
    from facexfer.comparison.learning_curve import comparison_of, points_of, read_curve_grid
    from facexfer.errors import RunError
    from facexfer.files.atomic import write_text
    from facexfer.reports.learning_curve import describe_curve, draw_learning_curves, sentence
    from facexfer.reports.saving import save_figure

    read = read_curve_grid(parts)
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
