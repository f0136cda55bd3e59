"""A comparison as typed data: which methods, networks, data sets and seeds, read from TOML."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from facexfer import grids
from facexfer.errors import InputError, first_of
from facexfer.eval.classification import is_loss
from facexfer.files.packaged import read_toml
from facexfer.heads import check_head
from facexfer.plugins import load_plugins, resolved_plugins
from facexfer.recipe import Recipe, Section, expand_path, read_recipe
from facexfer.registry import unknown_name_message
from facexfer.tasks import TASKS
from facexfer.tasks.keys import check_keys
from facexfer.transfer import methods
from facexfer.validation import first_problem


class Choice(Section):
    """One method, network or data set: what it changes in the recipe."""

    settings: tuple[str, ...] = ()
    """``section.key=value``, as with ``facexfer train --set``."""


class MethodChoice(Choice):
    """One method."""

    recipe: str | None = None
    """Start from this recipe instead of the grid's."""
    alpha: tuple[str, ...] = ()
    """The options that the search sets, e.g. ``method.alpha``; none, no search."""
    alphas: tuple[float, ...] = ()
    """The values that it tries, the same for all of `alpha`."""


class DatasetChoice(Choice):
    """One data set."""

    best_by: str | None = None
    """The figure that decides which methods are best there; left out, the grid's first."""


class Search(Section):
    """How alpha is searched: on a part of the training data, never on validation."""

    settings: tuple[str, ...]
    """What holds out that part: ``data.search_identities=55`` or ``data.search_share=0.2``."""
    figure: str | None = None
    """What is compared; left out, the figure that decides on the data set."""
    seed: int = 0


class Override(Section):
    """Settings for some cells only."""

    method: str | None = None
    network: str | None = None
    dataset: str | None = None
    settings: tuple[str, ...] = ()
    left_out: str = ""
    """Why these cells are not run; empty, they are."""

    def covers(self, cell: "Cell") -> bool:
        """Whether a cell is among those that this is for."""
        chosen = ((self.method, cell.method), (self.network, cell.network), (self.dataset, cell.dataset))
        return all(wanted in (None, name) for wanted, name in chosen)


class GeneratedFaces(Section):
    """Faces drawn by formulas; how many, and which."""

    train: int = Field(ge=2)
    """Identities to train on."""
    val: int = Field(ge=2)
    """Identities to measure on."""
    shots: int = Field(ge=2)
    """Shots of each identity, each seen in VIS and NIR."""
    seed: int = Field(default=0, ge=0)


def check_names(choices: dict[str, Any], info: pydantic.ValidationInfo) -> dict[str, Any]:
    """Check that choices have names that can be those of folders; that of a method is not empty."""
    for name in choices:
        is_empty = not name and info.field_name == "methods"
        if is_empty or "/" in name or name.startswith(".") or not name.isprintable():
            raise ValueError(f"expected a name that can be a folder's, got {name!r}; take letters and digits")
    return choices


class Grid(Section):
    """A comparison."""

    title: str
    recipe: str
    plugins: tuple[str, ...] = ()
    """Python files that every recipe of the grid gets besides its own; relative paths start at the grid's folder."""
    figures: tuple[str, ...] = Field(min_length=1)
    """Metrics in ``result.json``; the first decides which methods are best, unless a data set has its own."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    methods: dict[str, MethodChoice] = Field(min_length=1)
    networks: dict[str, Choice] = Field(default_factory=lambda: {"": Choice()})
    datasets: dict[str, DatasetChoice] = Field(default_factory=lambda: {"": DatasetChoice()})
    overrides: tuple[Override, ...] = ()
    search: Search | None = None
    folds: int | None = Field(default=None, ge=2)
    """Of faces: train each method once per fold of the training identities, and pool the folds' scores."""
    generated: GeneratedFaces | None = None
    """Faces that ``facexfer compare`` draws first; ``$FACEXFER_DEMO`` in the recipes names their folder."""
    paper: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """``dataset/network/method`` (empty parts left out) -> the paper's metrics, as printed."""

    _names = pydantic.field_validator("methods", "networks", "datasets")(check_names)

    def deciding_figure(self, dataset: str) -> str:
        """The figure that decides which methods are best on a data set."""
        return self.datasets[dataset].best_by or self.figures[0]


@dataclass(frozen=True)
class Cell:
    """One method on one network and data set.

    Attributes:
        dataset: A name of the grid, like the next two.
        network: Empty if the grid has none to choose.
        method: Of the row.
    """

    dataset: str
    network: str
    method: str

    @property
    def key(self) -> str:
        """``dataset/network/method`` without empty parts; also the folder of its runs."""
        return "/".join(part for part in (self.dataset, self.network, self.method) if part)


def cells_of(grid: Grid) -> Iterator[Cell]:
    """The cells of a grid that are run, data set by data set."""
    for dataset, network, method in itertools.product(grid.datasets, grid.networks, grid.methods):
        cell = Cell(dataset, network, method)
        if not left_out(grid, cell):
            yield cell


def left_out(grid: Grid, cell: Cell) -> str:
    """Why a cell is not run; empty for one that is."""
    return next((each.left_out for each in grid.overrides if each.left_out and each.covers(cell)), "")


def recipe_of(grid: Grid, cell: Cell, more: tuple[str, ...] = ()) -> Recipe:
    """Make the recipe of a cell.

    Args:
        grid: The comparison.
        cell: Where in it.
        more: Further settings: the seed, alpha, what a search holds out.

    Returns:
        The checked recipe.

    Raises:
        InputError: If the recipe is missing, a setting does not fit, or each fold of a cross-validation would choose
            its checkpoint by those who are measured.
    """
    method = grid.methods[cell.method]
    settings = [*grid.datasets[cell.dataset].settings, *grid.networks[cell.network].settings, *method.settings]
    for override in grid.overrides:
        if override.covers(cell):
            settings += override.settings
    if seed := _seed_among(settings):
        raise InputError(f"{cell.key}: expected no seed in a cell's settings, got {seed}; name it in the grid's seeds")
    recipe = read_recipe(method.recipe or grid.recipe, [*settings, *more])
    plugins = tuple(Path(str(expand_path(file))) for file in grid.plugins)
    recipe = recipe.model_copy(update={"plugins": tuple(dict.fromkeys((*plugins, *recipe.plugins)))})
    load_plugins(recipe.plugins)
    check_keys(recipe)
    if grid.folds is not None and recipe.evaluation.best_far is not None:
        raise InputError(
            f"{cell.key}: expected no evaluation.best_far in a grid with folds, got {recipe.evaluation.best_far:g}: "
            "each fold would choose its checkpoint by those who are measured; leave it and evaluation.patience out"
        )
    return recipe


def read_grid(name: str | Path) -> Grid:
    """Read a grid from a TOML file, or a packaged one by name.

    Args:
        name: A path, or the name of a file in ``facexfer/grids`` without its ending.

    Returns:
        The grid.

    Raises:
        InputError: If the file is missing or no TOML, a key is unknown or a value does not fit.
    """
    values = read_toml(name, grids, "grid")
    if "plugins" in values:
        values["plugins"] = resolved_plugins(values["plugins"], Path(name).parent)
    try:
        grid = Grid.model_validate(values)
    except pydantic.ValidationError as error:
        raise InputError(f"{name}: {first_problem(error, Grid)}") from error
    _check(grid, str(name))
    return grid


def alpha_settings(grid: Grid, cell: Cell, alpha: float | None) -> tuple[str, ...]:
    """What sets a cell's alpha; nothing for None."""
    return () if alpha is None else tuple(f"{key}={alpha!r}" for key in grid.methods[cell.method].alpha)


def check_methods(grid: Grid) -> None:
    """Check that every cell's method and head can be made, with the first of its alphas where it has some.

    Args:
        grid: The comparison; every cell's recipe is read.

    Raises:
        InputError: If a recipe does not fit, or a method or head does not take its options.
    """
    for cell in cells_of(grid):
        recipe = recipe_of(grid, cell, alpha_settings(grid, cell, next(iter(grid.methods[cell.method].alphas), None)))
        methods.create(recipe.method.name, **recipe.method.options)
        check_head(recipe.head.name, recipe.head.options, recipe.head.start)


def check_figures(grid: Grid) -> None:
    """Check that the runs will have the figures that the grid shows and decides by.

    Args:
        grid: The comparison; every cell's recipe is read.

    Raises:
        InputError: If a recipe does not fit, no run has a figure of the grid, or one lacks that by which its data set's
            methods are compared.
    """
    anywhere: dict[str, None] = {}
    for cell in cells_of(grid):
        recipe = recipe_of(grid, cell)
        known = TASKS[recipe.task].figures(recipe)
        if not known:
            return
        _check_decides(grid.deciding_figure(cell.dataset), known, cell.key)
        if grid.methods[cell.method].alpha and grid.search is not None and grid.search.figure is not None:
            trial = recipe_of(grid, cell, grid.search.settings)
            _check_decides(grid.search.figure, TASKS[trial.task].figures(trial), cell.key)
        anywhere.update(dict.fromkeys(known))
    for figure in grid.figures:
        if figure not in anywhere:
            raise InputError(unknown_name_message("figure", figure, anywhere))


def _check_decides(figure: str, known: Sequence[str], where: str) -> None:
    """Check that a figure that methods or alphas are compared by is one that runs have, and no loss."""
    if figure not in known:
        raise InputError(f"{where}: {unknown_name_message('figure', figure, known)}")
    if is_loss(figure):
        raise InputError(
            f"{where}: expected a figure to decide by that is better when it is high, got the loss {figure}; take "
            "another"
        )


def _check(grid: Grid, origin: str) -> None:
    check_seeds(grid.seeds, origin)
    if grid.search is not None and _seed_among(grid.search.settings):
        raise InputError(f"{origin}: expected no seed among the settings of [search], got one; set search.seed")
    for name, method in grid.methods.items():
        # By what names the folder of a trial.
        if repeated := repeats([f"{alpha + 0.0:g}" for alpha in method.alphas]):
            raise InputError(
                f"{origin}: expected each of the alphas of method '{name}' once, got {first_of(repeated, 3)} twice; "
                "leave one out"
            )
        if bool(method.alpha) != bool(method.alphas):
            raise InputError(f"{origin}: expected both alpha and alphas for method '{name}', got one; give the other")
        if method.alpha and grid.search is None:
            raise InputError(f"{origin}: expected [search] for the alphas of method '{name}', got none; add it")
        if method.alpha and grid.folds is not None:
            raise InputError(
                f"{origin}: expected no alphas in a grid with folds, got some for method '{name}': the search would "
                "see those who are measured; set one value"
            )
    for name, dataset in grid.datasets.items():
        if dataset.best_by is not None and dataset.best_by not in grid.figures:
            message = unknown_name_message("figure", dataset.best_by, grid.figures)
            raise InputError(f"{origin}: best_by of data set '{name}': {message}")
    known = {cell.key for cell in cells_of(grid)}
    for key, figures in grid.paper.items():
        if key not in known:
            raise InputError(f"{origin}: {unknown_name_message('cell of the paper', key, known)}")
        if len(figures) != len(grid.figures):
            raise InputError(
                f"{origin}: expected {len(grid.figures)} figures of the paper for {key}, got {len(figures)}"
            )
    for override in grid.overrides:
        if bool(override.settings) == bool(override.left_out):
            raise InputError(
                f"{origin}: overrides: expected either settings or left_out, got "
                f"{'both' if override.settings else 'neither'}; give one of them"
            )
        named = ((override.method, grid.methods), (override.network, grid.networks), (override.dataset, grid.datasets))
        for wanted, choices in named:
            if wanted is not None and wanted not in choices:
                raise InputError(f"{origin}: overrides: {unknown_name_message('name', wanted, choices)}")


def _seed_among(settings: Iterable[str]) -> str:
    """The setting that names a seed; empty without one."""
    return next((each for each in settings if each.partition("=")[0].strip() == "seed"), "")


def check_seeds(seeds: Sequence[int], origin: str) -> None:
    """Check that each seed is there once; a comparison would wait for as many runs as are named.

    Raises:
        InputError: If one is there twice.
    """
    if repeated := repeats(seeds):
        raise InputError(f"{origin}: expected each seed once, got {first_of(repeated, 3)} twice; leave one out")


def repeats(values: Sequence[object]) -> list[str]:
    """What comes more than once, as text, in its order.

    Example:
        >>> repeats([0, 1, 0, 2])
        ['0']
    """
    return [str(value) for value, times in Counter(values).items() if times > 1]
