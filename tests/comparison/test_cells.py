"""A comparison runs its cells as real runs, side by side, each with its own recipe."""

import os
import tomllib
from pathlib import Path

import pytest
from small_grid import write_small_grid

from facexfer.comparison.cells import run_cells
from facexfer.comparison.grid import read_grid
from facexfer.comparison.table import write_tables
from facexfer.errors import InputError

GRID = """
title = "Small"
recipe = "{recipe}"
figures = ["nir/tar@0.1"]
seeds = [0]
[search]
settings = ["data.search_identities=2"]
[methods."DFA"]
settings = ["method.name=dfa"]
alpha = ["method.alpha"]
alphas = [0.001, 0.002]
[methods."Broken"]
settings = ["optimizer.batch_size=999"]
"""


@pytest.mark.slow
def test_trials_run_at_once_with_their_own_alphas_and_a_failed_cell_stops_nothing(tmp_path: Path) -> None:
    grid = read_grid(str(write_small_grid(tmp_path, GRID, iterations=2)))
    out = tmp_path / "out"
    said: list[str] = []
    outcomes = run_cells(grid, out, 2, said.append)
    for alpha in (0.001, 0.002):
        trial = out / "search" / "DFA" / f"alpha{alpha:g}"
        assert tomllib.loads((trial / "recipe.toml").read_text())["method"]["alpha"] == alpha
        assert trial.with_name(f"{trial.name}.log").is_file()
    trained, broken = outcomes
    assert trained.alpha in (0.001, 0.002)
    assert tomllib.loads((trained.folder / "recipe.toml").read_text())["method"]["alpha"] == trained.alpha
    assert broken.result is None
    assert "batch" in broken.failure
    write_tables(grid, outcomes, out)
    assert "Broken, seed 0" in (out / "table.md").read_text()
    written = os.stat(trained.folder / "result.json").st_mtime_ns
    again = run_cells(grid, out, 2, said.append)
    assert again[0] == trained
    assert os.stat(trained.folder / "result.json").st_mtime_ns == written
    # Another recipe is refused before anything runs, in the search and after it.
    file, text = tmp_path / "grid.toml", (tmp_path / "grid.toml").read_text()
    file.write_text(text.replace("search_identities=2", "search_identities=3"))
    with pytest.raises(
        InputError, match=r"search/DFA/alpha0.001: expected the recipe of the run to resume, data.search"
    ):
        run_cells(read_grid(file), out, 2, said.append)
    for trial in out.glob("search/DFA/*"):
        trial.rename(tmp_path / trial.name)
    file.write_text(text.replace("method.name=dfa", "method.name=l2_sp"))
    with pytest.raises(InputError, match=r"runs/DFA/seed0: expected the recipe of the run to resume, method.name was"):
        run_cells(read_grid(file), out, 2, said.append)
