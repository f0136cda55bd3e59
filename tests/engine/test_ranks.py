"""Two processes over gloo: the same run as one process with the whole batch, also where one is lost on the way."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_files import write_recipe
from safetensors.torch import load_file
from small_faces import write_small_set

from facexfer.engine.train import train
from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "tests" / "programs"
WEIGHTS = ROOT / "facexfer" / "recipes" / "demo-source.safetensors"
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}
FROZEN = {"frozen_batchnorm": True}
CSD = {"method": {"name": "csd"}, "companions": {"match": "capture"}, "data": {"modality": "nir"}}
SETTINGS: dict[str, dict[str, Any]] = {
    "frozen": {"optimizer": FROZEN},
    "synced": {"optimizer": {"sync_batchnorm": True}},
    "csd": {"optimizer": FROZEN, **CSD},
}
# What two processes make other networks with than one: each normalises by its own half of the batch.
APART: dict[str, dict[str, Any]] = {
    # Not measured at the end of the first stage, where the ranks would settle on one's statistics.
    "apart": {"optimizer": {}, "evaluation": {"untouched": False, "every_epochs": 2}},
    "averaged": {"optimizer": {"average_decay": 0.5}},
}


@pytest.fixture(scope="module")
def make(recipe_for: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory):
    manifest = write_small_set(tmp_path_factory.mktemp("faces"), train=2, val=2, images=4)
    defaults: dict[str, dict[str, Any]] = {
        "source": {"weights": str(WEIGHTS)},
        "head": {"start": "random", "scale": 32.0, "margin": 0.5},
        "method": {"name": "afa", "spatial_alpha": 1e-5, "channel_alpha": 1e-5, "second_rate": 1.0},
        "evaluation": {"untouched": False},
        # In float32 the differences of rounding grow a hundredfold in these steps and hide a wrong factor.
        "runtime": {"precision": "64-true"},
    }

    def make(optimizer: dict[str, Any], **sections: Any):
        optimizer = {"learning_rate": 0.02, "batch_size": 4, **optimizer}
        return recipe_for(manifest, **{**defaults, **sections}, optimizer=optimizer)

    return make


@pytest.fixture(scope="module")
def two(make, tmp_path_factory: pytest.TempPathFactory):
    """What two processes of torchrun have made of the recipes, after one was lost and both were restarted."""
    folder = tmp_path_factory.mktemp("two")
    for name, options in (SETTINGS | APART).items():
        write_recipe(make(**options), folder / f"{name}.toml")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "1", str(PROGRAMS / "ranks.py"), str(folder), *SETTINGS, *APART]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert "failed (exitcode: -9) local_rank: 1" in done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_equal_one_with_the_whole_batch(make, two, tmp_path: Path, name: str) -> None:
    train(make(**SETTINGS[name]), tmp_path / "one", resume=False)
    start, model = load_file(WEIGHTS), load_file(tmp_path / "one" / "model.safetensors")
    assert max((model[key] - start[key]).abs().max() for key in start) > 0.01
    stages = sorted(f"stages/{file.name}" for file in (tmp_path / "one" / "stages").glob("*.safetensors"))
    assert len(stages) == (0 if name == "csd" else 2)
    for file in ("model.safetensors", "head.safetensors", *stages):
        first, second = load_file(tmp_path / "one" / file), load_file(two / name / file)
        assert first.keys() == second.keys()
        for key, weights in first.items():
            torch.testing.assert_close(second[key], weights, rtol=1e-8, atol=1e-8)
    records = zip(RunFolder(tmp_path / "one").metrics(), RunFolder(two / name).metrics(), strict=True)
    for ours, theirs in records:
        assert (ours["step"], ours.get("figures")) == (theirs["step"], theirs.get("figures"))
        for part, loss in ours.get("losses", {}).items():
            assert theirs["losses"][part] == pytest.approx(loss, rel=1e-6, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_all_ranks_hold_the_same_share_the_evaluation_and_one_writes(two, name: str) -> None:
    mine, theirs = (torch.load(two / f"{name}-{rank}.pt", weights_only=True) for rank in range(2))
    for first, second in zip(mine["stages"], theirs["stages"], strict=True):
        assert first.keys() == second.keys()
        assert any(key.startswith("terms.") for key in first) or name == "csd"
        for key, weights in first.items():
            assert torch.equal(weights, second[key]), key
    assert set(mine["embedded"]) == set(theirs["embedded"]) == {8 // 2}
    records = RunFolder(two / name).metrics()
    assert [record["step"] for record in records if "losses" in record] == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS | APART)
def test_every_rank_measures_the_network_that_is_saved(two, name: str) -> None:
    saved = load_file(two / name / "model.safetensors")
    for rank in range(2):
        measured = torch.load(two / f"{name}-{rank}.pt", weights_only=True)["measured"]
        assert measured.keys() == saved.keys()
        for key, tensor in saved.items():
            torch.testing.assert_close(measured[key], tensor, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", APART)
def test_every_rank_compares_with_the_same_network(two, name: str) -> None:
    mine, theirs = (torch.load(two / f"{name}-{rank}.pt", weights_only=True)["references"] for rank in range(2))
    assert len(mine) == 2
    for first, second in zip(mine, theirs, strict=True):
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_a_lost_rank_ends_the_job_with_a_message_and_a_good_checkpoint(two, tmp_path: Path) -> None:
    command = [
        sys.executable,
        PROGRAMS / "train_and_lose_a_rank.py",
        two / "frozen.toml",
        "--out",
        tmp_path / "run",
        "--devices",
        "2",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 1, done.stderr
    assert re.search("error: rank 0 lost another rank after step [23]; look for that one's message", done.stderr)
    assert "continue with --resume; the last good checkpoint is of step 2" in done.stderr
    assert RunFolder(tmp_path / "run").load_checkpoint()["step"] == 2
