"""A comparison that is stopped takes its runs with it, and goes on when it is started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from small_faces import write_small_set
from small_grid import write_small_grid

from facexfer.backbones import create_backbone
from facexfer.comparison.cells import run_cells
from facexfer.comparison.grid import read_grid
from facexfer.comparison.processes import RunPool, _files_of, run_environment
from facexfer.recipe import read_recipe
from facexfer.runs.folder import RunFolder

GRID = """
title = "Small"
recipe = "{recipe}"
figures = ["nir/tar@0.1"]
seeds = [0, 1]
[methods.L2]
"""


@pytest.fixture
def command(tmp_path: Path):
    grid = write_small_grid(tmp_path, GRID, iterations=8, checkpoint_seconds=0)
    words = [sys.executable, "-m", "facexfer", "compare", str(grid)]
    return [*words, "--out", str(tmp_path / "out")]


@pytest.mark.slow
def test_a_stopped_comparison_leaves_no_run_at_work_and_goes_on(command, tmp_path: Path) -> None:
    first = tmp_path / "out" / "runs" / "L2" / "seed0"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not (first / "checkpoints" / "last.safetensors").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    # To the comparison alone, as a job scheduler does; a terminal's Ctrl-C reaches the runs as well.
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert not (first / "result.json").exists()
    assert not (first.parent / "seed1").exists()
    outcomes = run_cells(read_grid(tmp_path / "grid.toml"), tmp_path / "out", 2, print)
    assert [(each.seed, each.failure) for each in outcomes] == [(0, ""), (1, "")]
    assert outcomes[0].folder == first


@pytest.mark.slow
def test_channel_weights_go_from_one_trial_to_the_next_and_are_used(tmp_path: Path) -> None:
    write_small_grid(tmp_path, GRID, iterations=1)
    runs = [RunFolder(tmp_path / "search" / f"alpha{alpha}") for alpha in (0.1, 0.2)]
    with RunPool(1, print) as pool:
        for alpha, run in zip((0.1, 0.2), runs, strict=True):
            recipe = read_recipe(tmp_path / "recipe.toml", ["method.name=delta", f"method.alpha={alpha}"])
            assert pool.start("trial", recipe, run.path).result().failure == ""
    measured, lent = runs
    assert measured.channel_file.stat().st_mtime_ns > measured.recipe_file.stat().st_mtime_ns
    # Weights measured again would be younger than the run.
    assert lent.channel_file.stat().st_mtime_ns < lent.recipe_file.stat().st_mtime_ns
    assert lent.channel_file.read_bytes() == measured.channel_file.read_bytes()


@pytest.mark.slow
def test_a_finished_run_whose_pictures_have_changed_since_is_no_result(tmp_path: Path) -> None:
    write_small_grid(tmp_path, GRID, iterations=1)
    recipe, run = read_recipe(tmp_path / "recipe.toml"), tmp_path / "runs" / "L2"
    with RunPool(1, print) as pool:
        assert pool.start("first", recipe, run).result().failure == ""
        assert pool.start("again", recipe, run).result().result is not None
    _files_of.cache_clear()
    picture = tmp_path / "faces/nir/p0/0.png"
    picture.write_bytes((tmp_path / "faces/nir/p1/1.png").read_bytes())
    with RunPool(1, print) as pool:
        assert "training changed since" in pool.start("changed", recipe, run).result().failure


@pytest.mark.slow
def test_a_killed_run_is_not_explained_by_what_it_had_warned_of(tmp_path: Path) -> None:
    write_small_grid(tmp_path, GRID, iterations=1)
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import os, sys\nprint('warning: a capture is shared', file=sys.stderr)\nos.kill(os.getpid(), 9)\n"
    )
    recipe = read_recipe(tmp_path / "recipe.toml").model_copy(update={"plugins": (plugin,)})
    with RunPool(1, print) as pool:
        failure = pool.start("run", recipe, tmp_path / "runs" / "L2").result().failure
    assert failure.startswith("its process was ended by signal 9")


@pytest.mark.slow
def test_output_that_nobody_reads_makes_no_run_a_failed_one(command, tmp_path: Path) -> None:
    """As with ``facexfer compare ... | head -1``."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.close()
    assert process.wait(timeout=120) == 1
    assert (tmp_path / "out" / "runs" / "L2" / "seed0" / "result.json").is_file()
    assert not (tmp_path / "out" / "table.md").exists()


def test_runs_side_by_side_have_different_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [run_environment(slot, 4)["CUDA_VISIBLE_DEVICES"] for slot in range(4)] == ["0", "1", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-7f")
    assert [run_environment(slot, 4)["CUDA_VISIBLE_DEVICES"] for slot in range(2)] == ["3", "GPU-7f"]
    assert int(run_environment(0, 4)["OMP_NUM_THREADS"]) == max(1, (os.cpu_count() or 1) // 4)


@pytest.mark.slow
def test_a_finished_run_whose_weights_or_pool_have_changed_since_is_no_result(
    recipe_for: Callable[..., Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = create_backbone("mobilefacenet_slim")
    weights, run = tmp_path / "source.pt", tmp_path / "runs" / "CSD"
    torch.save(network.state_dict(), weights)
    photos = write_small_set(tmp_path / "photos", train=3, val=0, modalities=["vis"])
    photos.write_text(photos.read_text().replace(",p", ",q").replace("train", "pool"))
    recipe = recipe_for(
        write_small_set(tmp_path / "faces"),
        source={"backbone": "mobilefacenet_slim", "weights": str(weights)},
        data={"augmentation": "nir"},
        pool={"manifest": str(photos), "share": 0.5},
        method={"name": "csd"},
        optimizer={"iterations": 1},
        evaluation={"pairs": [{"probe": "nir"}]},
    )

    def changed() -> str:
        _files_of.cache_clear()
        with RunPool(1, print) as pool:
            return pool.start("run", recipe, run).result().failure

    assert (changed(), changed()) == ("", "")
    before = weights.read_bytes()
    torch.save({key: value * 2 for key, value in network.state_dict().items()}, weights)
    assert "the source network changed since" in changed()
    weights.write_bytes(before)
    photo = photos.parent / "vis/p0/0.png"
    photo.write_bytes((photos.parent / "vis/p1/0.png").read_bytes())
    assert "started with, pool changed since" in changed()
