"""Learning curves as a comparison: parts of the people and of the images per person in the place of data sets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pydantic
from pydantic import Field

from facexfer import grids
from facexfer.comparison.cells import Outcome
from facexfer.comparison.grid import (
    DatasetChoice,
    GeneratedFaces,
    Grid,
    MethodChoice,
    cells_of,
    check_names,
    check_seeds,
    recipe_of,
)
from facexfer.errors import InputError
from facexfer.eval.power_law import check_sizes
from facexfer.files.packaged import read_toml
from facexfer.recipe import Section
from facexfer.runs.face_images import images_of_each, training_size
from facexfer.validation import first_problem

Fraction = Annotated[float, Field(gt=0, le=1)]


class CurveGrid(Section):
    """Which parts of the training data are trained on, by which methods."""

    title: str
    recipe: str
    figure: str
    """A metric of ``result.json``, higher meaning better: 1 minus it is the error."""
    methods: dict[str, MethodChoice] = Field(min_length=1)
    people: tuple[Fraction, ...] = Field(min_length=3)
    """Fractions of the training people, all images of each."""
    images: tuple[Fraction, ...] = ()
    """Fractions of the images per person, of all people; with all images of each for comparison: 1 among `people`."""
    draws: int = Field(default=2, ge=1)
    """How many parts are drawn of each size; the whole is one."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    settings: tuple[str, ...] = ()
    """For every run, as with ``facexfer train --set``."""
    worth: float = Field(default=0.005, gt=0, lt=1)
    """Doubling people pays where it lowers the error by this much at least."""
    generated: GeneratedFaces | None = None
    """Faces that the command draws first, as for ``facexfer compare``."""

    _names = pydantic.field_validator("methods")(check_names)


@dataclass(frozen=True)
class CurvePoint:
    """One run of a learning curve.

    Attributes:
        people: Trained on.
        images: Of each, on average.
        error: 1 minus the figure.
    """

    people: int
    images: float
    error: float


def read_curve_grid(name: str | Path) -> CurveGrid:
    """Read the design of learning curves from a TOML file.

    Raises:
        InputError: If the file is missing or no TOML, a key is unknown or a value does not fit.
    """
    values = read_toml(name, grids, "grid")
    try:
        grid = CurveGrid.model_validate(values)
    except pydantic.ValidationError as error:
        raise InputError(f"{name}: {first_problem(error, CurveGrid)}") from error
    check_seeds(grid.seeds, str(name))
    for method, choice in grid.methods.items():
        if choice.alpha or choice.alphas:
            raise InputError(
                f"{name}: expected no alphas in a learning curve, got some for method '{method}'; set one value"
            )
    if len(set(grid.people)) < 3:
        raise InputError(f"{name}: people: expected at least 3 different fractions, got {list(grid.people)}; add some")
    if grid.images and 1 not in (*grid.people, *grid.images):
        raise InputError(
            f"{name}: people: expected 1 among the fractions where parts of the images are trained on too, which are "
            f"of all people, got {list(grid.people)}; add it"
        )
    return grid


def comparison_of(curve: CurveGrid) -> Grid:
    """Make the comparison whose data sets are the parts.

    Args:
        curve: The design.

    Returns:
        A grid for `run_cells`.

    Raises:
        InputError: If a method's recipe does not fit, is not of faces, or trains on too few people, or if the parts are
            too few, or too alike in size, to tell noise from the law.
    """
    whole = Grid(
        title=curve.title, recipe=curve.recipe, figures=(curve.figure,), seeds=curve.seeds, methods=curve.methods,
        datasets={"": DatasetChoice(settings=curve.settings)}, generated=curve.generated,
    )  # fmt: skip
    sizes = {}
    for cell in cells_of(whole):
        recipe = recipe_of(whole, cell)
        if recipe.task != "face":
            raise InputError(f"expected face recipes for a learning curve, got task {recipe.task} for '{cell.method}'")
        sizes[training_size(recipe.data)] = recipe.data
    if len(sizes) > 1:
        raise InputError(
            f"expected methods that train on the same images, got (people, images of each): {sorted(sizes)}; give them "
            "one manifest and modality"
        )
    (((people, _), data),) = sizes.items()
    parts = _parts(curve, people, images_of_each(data))
    grid = whole.model_copy(
        update={
            "datasets": {name: DatasetChoice(settings=(*curve.settings, *settings)) for name, settings in parts.items()}
        }
    )
    method = next(iter(grid.methods))
    drawn = [training_size(recipe_of(grid, cell).data) for cell in cells_of(grid) if cell.method == method]
    # What the runs will find is not known yet, and does not matter here.
    counts, of_each, _ = columns_of([CurvePoint(*size, error=math.nan) for size in drawn] * len(grid.seeds))
    check_sizes(counts, of_each)
    return grid


def points_of(grid: Grid, outcomes: Sequence[Outcome], method: str) -> list[CurvePoint]:
    """The finished runs of a method as points of its learning curve.

    Args:
        grid: Of `comparison_of`.
        outcomes: Of its runs.
        method: One of its methods.

    Returns:
        One point per run that has the figure.
    """
    (figure,) = grid.figures
    points = []
    for outcome in outcomes:
        value = outcome.result["figures"].get(figure) if outcome.result is not None else None
        if outcome.cell.method == method and value is not None:
            size = training_size(recipe_of(grid, outcome.cell).data)
            points.append(CurvePoint(*size, 1 - float(value)))
    return points


def columns_of(points: Sequence[CurvePoint]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put points as the law is fitted to them, one column for each of their values.

    Args:
        points: Of one method.

    Returns:
        (R,) float64 people, images of each and errors. On fewer people than the most, all images of each were trained
        on: parts of equal design differ a little in their mean, which as one number is not a second axis.
    """
    rows = np.array([(point.people, point.images, point.error) for point in points], dtype=np.float64).reshape(-1, 3)
    most = rows[:, 0].max(initial=0)
    rows[rows[:, 0] < most, 1] = rows[rows[:, 0] == most, 1].max(initial=0)
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _parts(curve: CurveGrid, people: int, images: float) -> dict[str, tuple[str, ...]]:
    """Name -> settings of every part; the whole is there once, whatever the draws."""
    parts: dict[str, tuple[str, ...]] = {}
    wanted = [(share, 1.0) for share in curve.people] + [(1.0, share) for share in curve.images]
    for of_people, of_images in wanted:
        settings = []
        if of_people < 1:
            settings.append(f"data.train_identities={max(2, round(of_people * people))}")
        if of_images < 1:
            settings.append(f"data.images_per_identity={max(1, round(of_images * images))}")
        for draw in range(curve.draws if settings else 1):
            drawn = (f"data.draw_seed={draw}",) if settings else ()
            parts[f"people {of_people:g} images {of_images:g} draw {draw}"] = (*settings, *drawn)
    return parts
