"""Whole runs of the methods that ask about their source: prototypes, source images, channel weights, attention."""

import csv
import json
import sys

import pytest
import torch
from safetensors.torch import load_file
from small_faces import write_small_set

from facexfer.cli import main
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.recipe import dump_recipe, parse_recipe
from facexfer.runs.folder import RunFolder
from facexfer.runs.state import load_state
from facexfer.transfer.channel_weights import weights_from_rises


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_small_set(tmp_path_factory.mktemp("faces"), train=2, val=2, images=2)


def recipe_for(manifest, method, **sections):
    values = {
        "source": {"backbone": "mobilefacenet"},
        "data": {"manifest": str(manifest)},
        "head": {"scale": 16.0, "margin": 0.1},
        "method": {"layers": ["stage4"], **method},
        "optimizer": {"iterations": 1, "batch_size": 4},
        "evaluation": {"fars": [0.1], "untouched": False},
        "runtime": {"accelerator": "cpu", "checkpoint_seconds": 0, "log_every_steps": 1},
    }
    return parse_recipe({**values, **sections}, "test")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "part"),
    [
        ({"name": "lwf", "old_task": "training_set"}, "old_task"),
        ({"name": "soft_ft", "old_task": "source_set"}, "source_classification"),
    ],
)
def test_runs_give_their_part_of_the_loss(method, part, manifest, tmp_path):
    train(recipe_for(manifest, method, source_data={"modality": "vis"}), tmp_path / "run", resume=False)
    lines = RunFolder(tmp_path / "run").metrics_file.read_text().splitlines()
    losses = [json.loads(line)["losses"] for line in lines if "losses" in json.loads(line)]
    assert [set(each) for each in losses] == [{"classification", part}]
    assert "source" in json.loads(RunFolder(tmp_path / "run").result_file.read_text())["data"]


@pytest.mark.slow
def test_fixed_attention_trains_a_sam_and_keeps_deltas_weights(manifest, tmp_path):
    run = tmp_path / "run"
    train(recipe_for(manifest, {"name": "afa", "attention": "fixed"}), run, resume=False)
    assert RunFolder(run / "attention").finished
    state = load_state(run / "channel-weights.safetensors")
    (weights,) = state["weights"]
    assert torch.equal(weights, weights_from_rises(state["rises"][0]))
    assert (weights.shape, state["layers"]) == ((128,), ("stage4",))
    assert weights.sum().item() == pytest.approx(1, rel=1e-5)
    assert not torch.allclose(weights, torch.full((128,), 1 / 128))


@pytest.mark.slow
def test_a_run_stopped_before_its_result_keeps_what_it_has_trained(manifest, tmp_path):
    recipe, folder = recipe_for(manifest, {"name": "l2"}), RunFolder(tmp_path / "run")
    train(recipe, folder.path, resume=False)
    trained = load_file(folder.model_file)
    folder.result_file.unlink()
    folder.model_file.unlink()
    result = train(recipe, folder.path, resume=True)
    assert result["steps"] == 1
    assert all(torch.equal(trained[key], value) for key, value in load_file(folder.model_file).items())


def test_what_a_method_needs_is_checked_before_the_run(manifest, tmp_path):
    with pytest.raises(InputError, match=r"expected images of the source's own kind .* \[source_data\]"):
        train(recipe_for(manifest, {"name": "soft_ft", "old_task": "source_set"}), tmp_path / "run", resume=False)
    with pytest.raises(InputError, match="expected a source network with its own classifier, mobilefacenet came"):
        train(recipe_for(manifest, {"name": "lwf"}), tmp_path / "run", resume=False)
    recipe = recipe_for(manifest, {"name": "l2"}, evaluation={"fars": [0.1], "test_loss": True})
    with pytest.raises(InputError, match=r"expected test images of the training classes for evaluation.test_loss"):
        train(recipe, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_channel_weights_measured_before_a_run_are_used_by_it(manifest, tmp_path, monkeypatch):
    recipe = recipe_for(manifest, {"name": "delta"}, source_data={"modality": "vis"})
    (tmp_path / "recipe.toml").write_text(dump_recipe(recipe))
    words = ["facexfer", "delta-weights", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    rows = list(csv.DictReader((tmp_path / "run" / "channel-weights.csv").read_text().splitlines()))
    assert [row["layer"] for row in rows] == ["stage4"] * 128
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(1, rel=1e-5)
    measured = (tmp_path / "run" / "channel-weights.safetensors").stat().st_mtime_ns
    train(recipe, tmp_path / "run", resume=False)
    assert (tmp_path / "run" / "channel-weights.safetensors").stat().st_mtime_ns == measured
    # Another learning rate trains another head: its weights are no part of this run.
    other = recipe_for(manifest, {"name": "delta"}, optimizer={"iterations": 1, "batch_size": 4, "learning_rate": 0.5})
    (tmp_path / "other.toml").write_text(dump_recipe(other))
    monkeypatch.setattr(sys, "argv", [*words[:2], str(tmp_path / "other.toml"), *words[3:]])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert (tmp_path / "run" / "channel-weights.safetensors").stat().st_mtime_ns == measured
