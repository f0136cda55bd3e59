"""Phase true: methods x regimes x seeds, several processes side by side on one card, the most valuable runs first."""

import multiprocessing
import os
import queue
import shutil
import statistics
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import torch
from campaign import shared_crops
from campaign.record import Figure, Record

from facexfer.engine.train import train
from facexfer.errors import InputError, RunError
from facexfer.recipe import read_recipe

PHASE = "true"
Job = tuple[str, str, list[str]]


def jobs(grid: Path) -> list[Job]:
    """Read a grid: every cell's first seed, then every cell's second, and so on.

    Args:
        grid: TOML: ``settings`` for all, and tables ``[[cells]]`` of ``name``, ``recipe``, ``settings``, ``seeds``.

    Returns:
        (name with seed, recipe, settings) of every run.
    """
    values = tomllib.loads(grid.read_text())
    cells = values["cells"]
    return [
        (
            f"{cell['name']} / seed {cell['seeds'][turn]}",
            cell["recipe"],
            [*values.get("settings", []), *cell.get("settings", []), f"seed={cell['seeds'][turn]}"],
        )
        for turn in range(max(len(cell["seeds"]) for cell in cells))
        for cell in cells
        if turn < len(cell["seeds"])
    ]


def run(record: Record, grid: Path, side_by_side: int, more_settings: list[str]) -> None:
    """Train what is missing until the time is over."""
    missing = [
        (name, recipe, [*settings, *more_settings])
        for name, recipe, settings in jobs(grid)
        if not record.has(PHASE, name)
    ]
    os.environ[shared_crops.MANIFESTS] = os.pathsep.join(map(str, _manifests(missing)))
    # The server is a fresh process, which this one's use of the card does not reach; workers are forked from it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["campaign.shared_crops"])
    waiting: Any = context.Queue()
    done: Any = context.Queue()
    for job in missing:
        waiting.put(job)
    count = min(side_by_side, len(missing))
    for _ in range(count):
        waiting.put(None)
    scratch = Path(tempfile.mkdtemp())
    workers = [context.Process(target=work, args=(waiting, done, scratch)) for _ in range(count)]
    left = len(missing)
    try:
        for worker in workers:
            worker.start()
        while left and record.left > 0 and any(worker.is_alive() for worker in workers):
            try:
                name, figure = done.get(timeout=max(0.1, min(1.0, record.left)))
            except queue.Empty:
                continue
            record.add(PHASE, name, figure)
            left -= 1
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
        shutil.rmtree(scratch, ignore_errors=True)
    if left:
        print(f"{PHASE}: {left} of {len(missing)} runs are missing", flush=True)


def _manifests(missing: list[Job]) -> list[Path]:
    """The sets that the runs read, as far as their recipes can be read."""
    found = set()
    for _, name, settings in missing:
        try:
            recipe = read_recipe(name, settings)
        except InputError:
            continue
        sections = (recipe.data, recipe.companions, recipe.pool)
        found |= {section.manifest for section in sections if section is not None and section.manifest is not None}
    return sorted(found)


def work(waiting: Any, done: Any, scratch: Path) -> None:
    """Train one run after the other; a process's imports and its start on the card are paid once."""
    log = (scratch / f"log-{os.getpid()}").open("w")
    os.dup2(log.fileno(), 1)
    torch.set_num_threads(2)
    while (job := waiting.get()) is not None:
        name, recipe, settings = job
        out = scratch / f"run-{os.getpid()}"
        start = time.perf_counter()
        try:
            result = train(read_recipe(recipe, settings), out, resume=False)
            figure: Figure = {
                "seconds": round(time.perf_counter() - start, 2),
                "steps": result["steps"],
                "recipe": recipe,
                "settings": settings,
                "figures": result["figures"],
                "untouched": result["untouched"],
            }
        except (InputError, RunError, RuntimeError, OSError) as error:
            figure = {"error": f"{type(error).__name__}: {error}"[:500], "recipe": recipe, "settings": settings}
        shutil.rmtree(out, ignore_errors=True)
        done.put((name, figure))


def table(record: Record) -> list[str]:
    """Mean and standard deviation of the first pairs' figures, by cell."""
    cells: dict[str, list[Figure]] = {}
    for name, figure in record.figures.get(PHASE, {}).items():
        if "figures" in figure:
            cells.setdefault(name.rsplit(" / seed", 1)[0], []).append(figure["figures"])
    lines = []
    for cell, rows in cells.items():
        shown = []
        for key in rows[0]:
            values = [100 * row[key] for row in rows if row.get(key) is not None]
            if values:
                spread = f"+-{statistics.stdev(values):.1f}" if len(values) > 1 else ""
                shown.append(f"{key.replace('/tar@', ' ')} {statistics.mean(values):.1f}{spread}")
        lines.append(f"{cell} ({len(rows)}): {', '.join(shown)}")
    return lines
