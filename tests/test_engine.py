"""What a run can be trusted with: kills at bad moments, a full disk, and the options of the engine together."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from small_faces import write_small_set

from facexfer.best import BestFigure
from facexfer.errors import InputError
from facexfer.recipe import dump_recipe, parse_recipe
from facexfer.runs import RunFolder
from facexfer.schedule import balanced_batches
from facexfer.training import train
from facexfer.weight_average import WeightAverage

TOOLS = Path(__file__).resolve().parents[1] / "tools"
# Kills its own process at the n-th call of a function, before or after the call.
KILLED = """
import os, pkgutil, signal, sys
from facexfer.commands.entry import run_command
from facexfer.commands.train import train
owner, name, count, moment = (sys.argv.pop(1) for _ in range(4))
owner, count = pkgutil.resolve_name(owner), int(count)
whole, calls = getattr(owner, name), []
def counted(*given):
    calls.append(1)
    if len(calls) == count and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = whole(*given)
    if len(calls) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, name, counted)
run_command(train)
"""


def recipe_for(folder, **sections):
    manifest = folder / "images.csv"
    if not manifest.exists():
        write_small_set(folder, train=2, val=2, images=4, modalities=("nir",))
    values = {
        "source": {"backbone": "mobilefacenet_slim"},
        "data": {"manifest": str(manifest)},
        "head": {"scale": 16.0, "margin": 0.1},
        "method": {"name": "afa", "spatial_alpha": 1e-4, "channel_alpha": 1e-4},
        "optimizer": {"iterations": 6, "batch_size": 4},
        "evaluation": {"fars": [0.1]},
        "runtime": {"accelerator": "cpu", "checkpoint_seconds": 0, "log_every_steps": 1},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return parse_recipe(values, "test")


def assert_same_run(first, second):
    weights, others = (load_file(RunFolder(run).model_file) for run in (first, second))
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[key], others[key]) for key in weights)
    assert RunFolder(first).metrics_file.read_text() == RunFolder(second).metrics_file.read_text()


@pytest.mark.slow
def test_a_run_killed_at_bad_moments_equals_one_that_was_never_stopped(tmp_path):
    """SIGKILL while a checkpoint is written, between the stages, in a step and while the result is written."""
    options = {"average_decay": 0.9}
    recipe = recipe_for(tmp_path, optimizer=options, evaluation={"best_far": 0.1})
    (tmp_path / "recipe.toml").write_text(dump_recipe(recipe))
    words = [str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "killed")]
    kills = [
        ("facexfer.checkpoint", "_flush", "3", "after"),  # written beside, not yet renamed
        ("facexfer.training.RunFolder", "save_stage", "1", "after"),
        ("facexfer.training.Training", "_log", "2", "after"),
        ("facexfer.training.RunFolder", "save_result", "1", "before"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    for number, kill in enumerate(kills):
        resume = ["--resume"] if number else []
        done = subprocess.run([sys.executable, "-c", KILLED, *kill, *words, *resume], check=False, env=environment)
        assert done.returncode == -signal.SIGKILL
    subprocess.run([sys.executable, str(TOOLS / "train_nir.py"), *words, "--resume"], check=True, env=environment)
    train(recipe, tmp_path / "whole", resume=False)
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_last_checkpoint_is_intact(tmp_path):
    """Files may not grow beyond what half a checkpoint takes: the write fails as on a full disk."""
    recipe = recipe_for(tmp_path)
    (tmp_path / "recipe.toml").write_text(dump_recipe(recipe))
    words = [str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run")]
    subprocess.run(
        [sys.executable, "-c", KILLED, "facexfer.training.Training", "_clip", "3", "before", *words], check=False
    )
    folder = RunFolder(tmp_path / "run")
    before = folder.checkpoint_file.read_bytes()
    done = subprocess.run(
        [sys.executable, str(TOOLS / "train_nir.py"), *words, "--resume"],
        check=False, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: expected to write")
    assert "free some space" in done.stderr
    assert folder.checkpoint_file.read_bytes() == before
    subprocess.run([sys.executable, str(TOOLS / "train_nir.py"), *words, "--resume"], check=True)


@pytest.mark.slow
def test_the_engines_options_work_together(tmp_path):
    recipe = recipe_for(
        tmp_path,
        data={"identities_per_batch": 2},
        optimizer={"accumulate": 2, "clip_norm": 1.0, "average_decay": 0.9},
        evaluation={"best_far": 0.1, "patience": 1, "every_epochs": 0.5},
        runtime={"precision": "bf16-mixed", "workers": 1},
    )
    others = set(psutil.Process().children())  # what earlier tests' process pools keep for the whole process
    result = train(recipe, tmp_path / "run", resume=False)
    figures = [r["figures"]["nir/tar@0.1"] for r in RunFolder(tmp_path / "run").metrics() if "figures" in r]
    assert result["figures"]["nir/tar@0.1"] == max(figures[1:])
    assert result["best"]["figure"] == "nir/tar@0.1"
    assert json.loads(RunFolder(tmp_path / "run").result_file.read_text())["best"] == result["best"]
    assert set(psutil.Process().children()) == others


def test_accumulation_gives_the_same_step(tmp_path):
    """With BatchNorm's statistics held; two passes of two images against one of four."""
    networks = []
    for parts in (1, 2):
        recipe = recipe_for(
            tmp_path,
            optimizer={"accumulate": parts, "frozen_batchnorm": True, "iterations": 2},
            evaluation={"untouched": False},
        )
        train(recipe, tmp_path / f"run{parts}", resume=False)
        networks.append(load_file(RunFolder(tmp_path / f"run{parts}").model_file))
    for name, one in networks[0].items():
        assert torch.allclose(one.double(), networks[1][name].double(), atol=1e-5), name


def test_a_batch_that_cannot_be_shared_is_an_error(tmp_path):
    with pytest.raises(InputError, match="share in 3 parts each, got 4; make optimizer.batch_size a multiple of 3"):
        train(recipe_for(tmp_path, optimizer={"accumulate": 3}), tmp_path / "run", resume=False)
    with pytest.raises(InputError, match="3 identities can share, got 4"):
        train(recipe_for(tmp_path, data={"identities_per_batch": 3}), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_the_best_network_is_never_chosen_by_test_data(tmp_path):
    with pytest.raises(InputError, match="expected a validation split to choose by, got data.val_split = 'test'"):
        BestFigure(recipe_for(tmp_path, data={"val_split": "test"}, evaluation={"best_far": 0.1}))
    with pytest.raises(InputError, match=r"expected one of evaluation.fars \[0.1\], got 0.2"):
        BestFigure(recipe_for(tmp_path, evaluation={"best_far": 0.2}))
    with pytest.raises(InputError, match="expected evaluation.best_far beside it"):
        BestFigure(recipe_for(tmp_path, evaluation={"patience": 2}))


def test_the_first_of_equal_figures_is_the_best_and_patience_runs_out(tmp_path):
    best = BestFigure(recipe_for(tmp_path, evaluation={"best_far": 0.1, "patience": 2}))
    assert [best.see(step, {"nir/tar@0.1": tar}) for step, tar in enumerate((0.5, 0.7, 0.7, 0.6))] == [
        True, True, False, False,
    ]  # fmt: skip
    assert best.is_exhausted
    assert (best.state()["step"], best.state()["value"]) == (1, 0.7)
    best.start_stage()
    assert not best.is_exhausted


def test_balanced_batches_hold_as_many_images_of_each_identity():
    labels = [0] * 50 + [1] * 3 + [2] * 20 + [3] * 7
    batches = balanced_batches(labels, 2, 8, seed=1, epoch=0)
    assert len(batches) == 80 // 8
    for batch in batches:
        chosen = [labels[index] for index in batch]
        assert sorted(chosen.count(label) for label in set(chosen)) == [4, 4]
    assert {labels[index] for batch in batches for index in batch} == {0, 1, 2, 3}
    assert batches == balanced_batches(labels, 2, 8, seed=1, epoch=0)
    assert batches != balanced_batches(labels, 2, 8, seed=1, epoch=1)
    with pytest.raises(InputError, match="at least 5 training identities, got 4"):
        balanced_batches(labels, 5, 10, seed=1, epoch=0)


def test_the_average_of_weights_follows_by_its_decay():
    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.zero_()
    average = WeightAverage(network, decay=0.1)
    with torch.no_grad():
        network.weight.fill_(1.0)
    average.update(network)
    assert average.network.weight.item() == pytest.approx(0.9)
    again = WeightAverage(network, decay=0.1)
    again.load_state(average.state())
    assert again.network.weight.item() == average.network.weight.item()
