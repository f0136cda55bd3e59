"""Run the cells of a grid: alpha is searched first where a method asks for it, and a failed run stops nothing."""

import itertools
import queue
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from facexfer.comparison.folds import PooledPairs, fold_settings, pool_folds
from facexfer.comparison.grid import Cell, Grid, alpha_settings, cells_of, check_figures, check_methods, recipe_of
from facexfer.comparison.processes import Finished, RunPool
from facexfer.files.lock import hold_folder
from facexfer.recipe import Recipe, differences, read_recipe
from facexfer.runs.folder import RunFolder


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Attributes:
        cell: Its place in the grid.
        seed: Of the run.
        folder: The run folder.
        result: As in ``result.json``; None for a run that failed.
        failure: Why it failed, in one line; empty for a good one.
        alpha: What the search chose; None where nothing was searched.
        pooled: The pairs of all folds together, where the grid has folds.
    """

    cell: Cell
    seed: int
    folder: Path
    result: dict[str, Any] | None
    failure: str = ""
    alpha: float | None = None
    pooled: tuple[PooledPairs, ...] = ()


def run_cells(
    grid: Grid,
    out: Path,
    jobs: int,
    say: Callable[[str], None],
    show: Callable[[list[Outcome]], None] = lambda outcomes: None,
) -> list[Outcome]:
    """Run what is not finished yet.

    Args:
        grid: The comparison.
        out: Its folder: ``runs/``, ``search/``.
        jobs: Runs at a time.
        say: Shows a line of progress.
        show: Gets the outcomes so far each time that there are more.

    Returns:
        One outcome a cell and seed, in the grid's order.

    Raises:
        InputError: If a recipe of the grid does not fit, or a run that is there was made by another one; nothing has
            been run yet.
    """
    check_methods(grid)
    check_figures(grid)
    recipes: dict[Path, list[Recipe]] = defaultdict(list)
    for cell in cells_of(grid):
        trials = list(_trials_of(grid, out, cell))
        for _, folder, recipe in trials:
            recipes[folder].append(recipe)
        # Of a searched cell alpha is not known yet: it is one of these.
        alphas: list[float | None] = [alpha for alpha, _, _ in trials]
        for alpha, seed in itertools.product(alphas or [None], grid.seeds):
            for folder, recipe in _runs_of(grid, out, cell, seed, alpha):
                recipes[folder].append(recipe)
    for folder, possible in recipes.items():
        _check_begun(folder, possible)
    with RunPool(jobs, say) as pool:
        return _Comparison(grid, out, pool).run(show)


def _check_begun(folder: Path, recipes: Sequence[Recipe]) -> None:
    """Check that a run, if it has been started, is of one of these recipes; the error is about the nearest of them."""
    run = RunFolder(folder)
    if run.recipe_file.exists():
        begun = read_recipe(run.recipe_file)
        run.check_resumable(min(recipes, key=lambda recipe: len(differences(begun, recipe))))


def _trials_of(grid: Grid, out: Path, cell: Cell) -> Iterator[tuple[float, Path, Recipe]]:
    """The runs that search a cell's alpha, if it is searched: alpha, folder and recipe."""
    if grid.search is None or not grid.methods[cell.method].alpha:
        return
    for alpha in grid.methods[cell.method].alphas:
        settings = (f"seed={grid.search.seed}", *alpha_settings(grid, cell, alpha), *grid.search.settings)
        yield alpha, out / "search" / cell.key / f"alpha{alpha:g}", recipe_of(grid, cell, settings)


def _runs_of(grid: Grid, out: Path, cell: Cell, seed: int, alpha: float | None) -> Iterator[tuple[Path, Recipe]]:
    """A cell's run of one seed, or its runs of all folds: each with its folder."""
    folder = _folder(out, cell, seed)
    for number, fold in enumerate(fold_settings(grid) or [()], start=1):
        recipe = recipe_of(grid, cell, (f"seed={seed}", *alpha_settings(grid, cell, alpha), *fold))
        yield folder / f"fold{number}" if fold else folder, recipe


def _folder(out: Path, cell: Cell, seed: int) -> Path:
    return out / "runs" / cell.key / f"seed{seed}"


def only_one_in(folder: Path) -> AbstractContextManager[object]:
    """Hold a folder for as long as the block runs; the system lets go of it also when the process is killed.

    Args:
        folder: Made if it is not there.

    Raises:
        InputError: If another process holds it, or it cannot be written.
    """
    busy = "expected a folder that no other comparison is writing into, one is running there"
    return hold_folder(folder, "a folder for the comparison", busy)


class _Comparison:
    """Trials and runs under way, and what has become of those before; one thread handles all that ends."""

    def __init__(self, grid: Grid, out: Path, pool: RunPool) -> None:
        self._grid, self._out, self._pool = grid, out, pool
        self._outcomes: dict[tuple[Cell, int], Outcome] = {}
        self._trials: dict[Cell, dict[float, Finished]] = {}
        self._ended: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(self, show: Callable[[list[Outcome]], None]) -> list[Outcome]:
        cells = list(cells_of(self._grid))
        searched = [cell for cell in cells if self._grid.methods[cell.method].alpha]
        for cell in searched:
            self._start_search(cell)
        # Seed by seed: a comparison that is stopped early has a row of every method.
        for seed in self._grid.seeds:
            for cell in cells:
                if cell not in searched:
                    self._start_run(cell, seed, None)
        order = list(itertools.product(cells, self._grid.seeds))
        while len(self._outcomes) < len(order):
            known = len(self._outcomes)
            self._ended.get()()
            if len(self._outcomes) > known:
                show([self._outcomes[key] for key in order if key in self._outcomes])
        return [self._outcomes[key] for key in order]

    def _start(self, name: str, recipe: Recipe, folder: Path, end: Callable[[Finished], None]) -> None:
        future = self._pool.start(name, recipe, folder)
        future.add_done_callback(lambda done: self._ended.put(lambda: end(done.result())))

    def _start_search(self, cell: Cell) -> None:
        for alpha, folder, recipe in _trials_of(self._grid, self._out, cell):
            self._start(f"search {cell.key} alpha {alpha:g}", recipe, folder, partial(self._end_trial, cell, alpha))

    def _start_run(self, cell: Cell, seed: int, alpha: float | None) -> None:
        ended: list[Finished] = []
        name = f"{cell.key} seed {seed}"
        for number, (folder, recipe) in enumerate(_runs_of(self._grid, self._out, cell, seed, alpha), start=1):
            if self._grid.folds is None:
                self._start(name, recipe, folder, partial(self._end_run, cell, seed, alpha))
            else:
                end = partial(self._end_fold, cell, seed, alpha, ended)
                self._start(f"{name} fold {number}", recipe, folder, end)

    def _end_fold(self, cell: Cell, seed: int, alpha: float | None, ended: list[Finished], run: Finished) -> None:
        ended.append(run)
        folds = len(fold_settings(self._grid))
        if len(ended) < folds:
            return
        failure = "; ".join(each.failure for each in ended if each.failure)
        folder = _folder(self._out, cell, seed)
        pooled = () if failure else pool_folds([folder / f"fold{fold + 1}" for fold in range(folds)])
        figures = {
            f"{pairs.name}/tar@{point.far:g}": point.tar if point.supported else None
            for pairs in pooled
            for point in pairs.points
        }
        result = None if failure else {"figures": figures}
        self._outcomes[cell, seed] = Outcome(cell, seed, folder, result, failure, alpha, pooled)

    def _end_trial(self, cell: Cell, alpha: float, trial: Finished) -> None:
        trials = self._trials.setdefault(cell, {})
        trials[alpha] = trial
        if len(trials) < len(self._grid.methods[cell.method].alphas):
            return
        chosen, reason = _best(self._grid, cell, trials)
        if chosen is not None:
            for seed in self._grid.seeds:
                self._start_run(cell, seed, chosen)
            return
        for seed in self._grid.seeds:
            self._end_run(cell, seed, None, Finished(None, reason))

    def _end_run(self, cell: Cell, seed: int, alpha: float | None, run: Finished) -> None:
        folder = _folder(self._out, cell, seed)
        self._outcomes[cell, seed] = Outcome(cell, seed, folder, run.result, run.failure, alpha)


def _best(grid: Grid, cell: Cell, trials: dict[float, Finished]) -> tuple[float | None, str]:
    """The best alpha, the smaller of equal ones, or why none was chosen."""
    assert grid.search is not None
    figure = grid.search.figure or grid.deciding_figure(cell.dataset)
    scored = [
        (trial.result["figures"][figure], -alpha, alpha)
        for alpha, trial in trials.items()
        if trial.result is not None and trial.result["figures"].get(figure) is not None
    ]
    if not scored:
        reasons = "; ".join(trial.failure for trial in trials.values() if trial.failure)
        return None, f"every alpha failed: {reasons or f'no run has the figure {figure}'}"
    return max(scored)[2], ""
