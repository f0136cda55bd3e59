"""Run the cells of a grid, each in a process of its own, several at a time, whatever becomes of the others."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from facexfer.comparison.grid import Cell, Grid, cells_of, recipe_of
from facexfer.errors import InputError
from facexfer.recipe import Recipe, dump_recipe
from facexfer.runs import RunFolder, write_text


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
    """

    cell: Cell
    seed: int
    folder: Path
    result: dict[str, Any] | None
    failure: str = ""
    alpha: float | None = None


def run_cells(grid: Grid, out: Path, jobs: int, say: Callable[[str], None]) -> list[Outcome]:
    """Run what is not finished yet; alpha is searched first where a method asks for it.

    Args:
        grid: The comparison.
        out: Its folder: ``runs/``, ``search/``.
        jobs: Runs at a time; GPUs, where there are any, are given out in turn.
        say: Shows a line of progress.

    Returns:
        One outcome a cell and seed, in the grid's order.

    Raises:
        InputError: If a recipe of the grid does not fit; nothing has been run yet.
    """
    cells = list(cells_of(grid))
    for cell in cells:
        recipe_of(grid, cell)
    slots = itertools.count()
    with ThreadPoolExecutor(jobs) as pool:

        def start(name: str, recipe: Recipe, folder: Path) -> Any:
            return pool.submit(lambda: _run(name, recipe, folder, next(slots), jobs, say))

        searched = {cell: list(_searches(grid, cell, out)) for cell in cells if grid.methods[cell.method].alpha}
        trials = {
            cell: [(alpha, start(f"search {cell.key} alpha {alpha:g}", *each)) for alpha, *each in tried]
            for cell, tried in searched.items()
        }
        chosen = {
            cell: _best(grid, [(alpha, future.result()) for alpha, future in each]) for cell, each in trials.items()
        }
        waiting = []
        for cell, seed in itertools.product(cells, grid.seeds):
            folder = out / "runs" / cell.key / f"seed{seed}"
            alpha, reason = chosen.get(cell, (None, ""))
            if reason:
                waiting.append((cell, seed, folder, alpha, None, reason))
                continue
            settings = (f"seed={seed}", *_alpha_settings(grid, cell, alpha))
            future = start(f"{cell.key} seed {seed}", recipe_of(grid, cell, settings), folder)
            waiting.append((cell, seed, folder, alpha, future, ""))
        outcomes = []
        for cell, seed, folder, alpha, future, reason in waiting:
            result, failure = future.result() if future else (None, reason)
            outcomes.append(Outcome(cell, seed, folder, result, failure, alpha))
        return outcomes


def _searches(grid: Grid, cell: Cell, out: Path) -> Any:
    assert grid.search is not None
    for alpha in grid.methods[cell.method].alphas:
        settings = (f"seed={grid.search.seed}", *_alpha_settings(grid, cell, alpha), *grid.search.settings)
        yield alpha, recipe_of(grid, cell, settings), out / "search" / cell.key / f"alpha{alpha:g}"


def _alpha_settings(grid: Grid, cell: Cell, alpha: float | None) -> Sequence[str]:
    return () if alpha is None else [f"{key}={alpha!r}" for key in grid.methods[cell.method].alpha]


def _best(grid: Grid, trials: list[tuple[float, tuple[dict[str, Any] | None, str]]]) -> tuple[float | None, str]:
    assert grid.search is not None
    figure = grid.search.figure or grid.figures[0]
    scored = [
        (result["figures"][figure], -alpha, alpha)
        for alpha, (result, _) in trials
        if result is not None and result["figures"].get(figure) is not None
    ]
    if not scored:
        reasons = "; ".join(failure for _, (_, failure) in trials if failure) or f"no run has the figure {figure}"
        return None, f"every alpha failed: {reasons}"
    return max(scored)[2], ""


def _run(
    name: str, recipe: Recipe, folder: Path, slot: int, jobs: int, say: Callable[[str], None]
) -> tuple[dict[str, Any] | None, str]:
    run = RunFolder(folder)
    if run.finished:
        try:
            run.check_resumable(recipe)
        except InputError as error:
            return None, str(error)
        return json.loads(run.result_file.read_text()), ""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Not with_suffix, which takes the .001 of alpha0.001 for a suffix.
    file = folder.with_name(f"{folder.name}.toml")
    write_text(file, dump_recipe(recipe))
    words = [sys.executable, "-c", "from facexfer.cli import main; main()", "train", str(file), "--out", str(folder)]
    if run.recipe_file.exists():
        words.append("--resume")
    done = subprocess.run(words, check=False, env=_environment(slot, jobs), capture_output=True, text=True)
    write_text(folder.with_name(f"{folder.name}.log"), done.stdout + done.stderr)
    if done.returncode != 0 or not run.result_file.is_file():
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        failure = lines[-1].removeprefix("error: ") if lines else f"exit status {done.returncode}"
        say(f"{name}: failed: {failure}")
        return None, failure
    result = json.loads(run.result_file.read_text())
    say(f"{name}: finished")
    return result, ""


def _environment(slot: int, jobs: int) -> dict[str, str]:
    environment = dict(os.environ)
    gpus = torch.cuda.device_count()
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = str(slot % gpus)
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    return environment
