"""Whole runs on a tiny set: stages, resume, errors, what a run folder holds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_faces import write_small_set
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.engine import verdict
from facexfer.engine.loop import Training
from facexfer.engine.train import train
from facexfer.errors import DivergedError, InputError, RunError
from facexfer.recipe import parse_recipe
from facexfer.runs.folder import RunFolder, load_backbone

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_nir.py"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_small_set(tmp_path_factory.mktemp("faces"))


def recipe_for(manifest, method=None, **sections):
    values = {
        "source": {"backbone": "mobilefacenet"},
        "data": {"manifest": str(manifest)},
        "head": {"scale": 16.0, "margin": 0.1},
        "method": method or {"name": "afa", "spatial_alpha": 1e-4, "channel_alpha": 1e-4},
        "optimizer": {"iterations": 4, "batch_size": 8},
        "evaluation": {"fars": [0.1], "pairs": [{"probe": "nir"}, {"probe": "nir", "gallery": "vis"}]},
        "runtime": {"accelerator": "cpu", "checkpoint_seconds": 0, "log_every_steps": 1},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return parse_recipe(values, "test")


def metrics_of(run):
    return [json.loads(line) for line in RunFolder(run).metrics_file.read_text().splitlines()]


def assert_same_run(first, second):
    weights, others = (load_file(RunFolder(run).model_file) for run in (first, second))
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[key], others[key]) for key in weights)
    assert metrics_of(first) == metrics_of(second)


@pytest.fixture(scope="module")
def finished(manifest, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(recipe_for(manifest), run, resume=False)
    return run


def test_a_run_folder_holds_recipe_metrics_network_and_result(finished, manifest):
    folder = RunFolder(finished)
    assert folder.recipe_file.read_text().startswith('task = "face"')
    records = metrics_of(finished)
    assert [record["step"] for record in records if "losses" in record] == [1, 2, 3, 4]
    assert [record["stage"] for record in records if "losses" in record] == ["ast", "ast", "act", "act"]
    assert set(records[0]["figures"]) == {"nir/tar@0.1", "vis-nir/tar@0.1"}
    result = json.loads(folder.result_file.read_text())
    assert result["figures"].keys() == result["untouched"].keys()
    assert set(result["data"]) == {"training", "validation"}
    assert any(file.name.startswith("events.out.tfevents") for file in finished.iterdir())
    backbone = load_backbone(finished)
    assert not backbone.training
    assert backbone.info.name == "mobilefacenet"


def test_a_head_that_cannot_learn_is_said_on_screen_and_in_the_metrics(manifest, tmp_path, capsys):
    train(recipe_for(manifest, {"name": "l2_fe"}, optimizer={"learning_rate": 1e-9}), tmp_path / "run", resume=False)
    (warning,) = [record["warning"] for record in metrics_of(tmp_path / "run") if "warning" in record]
    assert "the head does not learn" in warning
    assert "warning: the head does not learn" in capsys.readouterr().out


def test_stage_two_starts_from_stage_one(manifest, tmp_path, monkeypatch):
    """The source of stage II is the stage-I target, and the head is carried over."""
    seen = []
    make = Training._make_objective

    def spy(self, index, checkpoint):
        objective = make(self, index, checkpoint)
        state = {key: value.clone() for key, value in self.backbone.state_dict().items()}
        head = {key: value.clone() for key, value in self.head.state_dict().items()}
        seen.append((objective, self.reference, state, head))
        return objective

    monkeypatch.setattr(Training, "_make_objective", spy)
    train(recipe_for(manifest), tmp_path / "run", resume=False)
    (first, _, start, first_head), (second, reference, after_one, second_head) = seen
    source = reference.state_dict()
    assert all(torch.equal(source[key], after_one[key]) for key in source)
    assert any(not torch.equal(start[key], after_one[key]) for key in start)
    assert first.head is second.head
    assert not torch.equal(first_head["weight"], second_head["weight"])
    assert not second.source.training
    networks = [*first.source.modules(), *second.source.modules(), *second.backbone.modules()]
    assert sum(len(module._forward_hooks) for module in networks) == 0


def test_the_source_can_be_kept_in_stage_two(manifest, tmp_path, monkeypatch):
    sources = []
    make = Training._make_objective
    monkeypatch.setattr(
        Training, "_make_objective", lambda self, *rest: (make(self, *rest), sources.append(self.reference))[0]
    )
    train(recipe_for(manifest, {"name": "afa", "keep_source": True}), tmp_path / "run", resume=False)
    assert sources[0] is sources[1]


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_resumed_run_equals_one_that_was_never_stopped(manifest, finished, tmp_path, monkeypatch, after):
    log = Training._log

    def stop(self, window):
        log(self, window)
        if self.step == after + 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_log", stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe_for(manifest), tmp_path / "run", resume=False)
    assert not RunFolder(tmp_path / "run").finished
    train(recipe_for(manifest), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", finished)


def test_a_finished_run_is_left_alone(manifest, finished):
    before = {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()}
    result = train(recipe_for(manifest), finished, resume=True)
    assert result == json.loads(RunFolder(finished).result_file.read_text())
    assert {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()} == before


def test_a_recipe_may_be_a_mapping_and_a_folder_a_string(manifest, tmp_path):
    values = recipe_for(manifest).model_dump(exclude_none=True)
    result = train(values, str(tmp_path / "run"))
    assert result == train(values, str(tmp_path / "run"), resume=True)
    assert set(result["figures"]) == {"nir/tar@0.1", "vis-nir/tar@0.1"}


def test_a_run_that_diverges_stops_with_the_cause_and_the_last_checkpoint_stays(manifest, tmp_path):
    recipe = recipe_for(manifest, {"name": "dfa", "alpha": 1e-4}, optimizer={"learning_rate": 1e20, "iterations": 9})
    with pytest.raises(RunError, match=r"no longer finite after step \d+; lower optimizer.learning_rate or"):
        train(recipe, tmp_path / "run", resume=False)
    assert not RunFolder(tmp_path / "run").finished
    assert not RunFolder(tmp_path / "run").model_file.exists()
    with pytest.raises(DivergedError, match="no longer finite .*with another --out and what it names changed by --set"):
        train(recipe, tmp_path / "run", resume=True)


def test_a_run_far_below_its_source_fails_with_its_cause_and_is_neither_resumed_nor_exported(
    manifest, tmp_path, monkeypatch
):
    monkeypatch.setattr(verdict, "KEPT", 1e9)
    # The untrained source's TAR is 0 within NIR.
    across = {"pairs": [{"probe": "nir", "gallery": "vis"}], "untouched": False}
    small = {"backbone": "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"}
    recipe = recipe_for(manifest, {"name": "l2"}, source=small, optimizer={"iterations": 2}, evaluation=across)
    run = tmp_path / "run"
    with pytest.raises(DivergedError, match="far below .* of the network that it started from; lower .*of step 2"):
        train(recipe, run, resume=False)
    result = json.loads(RunFolder(run).result_file.read_text())
    assert "vis-nir/tar@0.1 is" in result["failure"]
    with pytest.raises(DivergedError, match="this run failed: the run came to nothing"):
        train(recipe, run, resume=True)
    file = tmp_path / "network.onnx"
    refused = CliRunner().invoke(app, ["export", str(run), "--out", str(file)])
    assert isinstance(refused.exception, DivergedError)
    assert "--even-if-failed" in str(refused.exception)
    assert not file.exists()
    words = ["export", str(run), "--out", str(file), "--opset", "17", "--even-if-failed"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert file.exists()


def test_a_loss_that_is_not_finite_stops_the_run_with_part_stage_step_and_rate(manifest, tmp_path, monkeypatch):
    compute = Training._compute_gradients

    def overflow_at_step_three(self, *given):
        losses = compute(self, *given)
        return {**losses, "spatial": losses["spatial"] * torch.inf} if self.step == 2 else losses

    monkeypatch.setattr(Training, "_compute_gradients", overflow_at_step_three)
    recipe = recipe_for(manifest, optimizer={"iterations": 9}, evaluation={"untouched": False})
    message = r"loss part 'spatial' became inf in stage ast at step 3 \(learning rate 0.01\); lower .* is of step 2"
    with pytest.raises(RunError, match=message):
        train(recipe, tmp_path / "run", resume=False)
    assert RunFolder(tmp_path / "run").load_checkpoint()["step"] == 2


def test_feature_extraction_leaves_the_network_as_it_was(manifest, tmp_path):
    train(recipe_for(manifest, {"name": "l2_fe"}), tmp_path / "run", resume=False)
    result = json.loads(RunFolder(tmp_path / "run").result_file.read_text())
    assert result["figures"] == result["untouched"]


def test_an_existing_run_is_not_overwritten(manifest, finished):
    with pytest.raises(InputError, match="there is a run in it; give --resume or another --out"):
        train(recipe_for(manifest), finished, resume=False)


def test_resuming_with_another_recipe_is_an_error(manifest, finished, tmp_path):
    with pytest.raises(InputError, match=r"optimizer.iterations was 4, now 5; give another --out"):
        train(recipe_for(manifest, optimizer={"iterations": 5}), finished, resume=True)
    with pytest.raises(InputError, match="expected a run to resume, there is none"):
        train(recipe_for(manifest), tmp_path / "none", resume=True)


def test_too_few_images_for_a_batch_is_an_error_before_anything_is_written(manifest, tmp_path):
    with pytest.raises(InputError, match="16 images for batches of 17; lower optimizer.batch_size"):
        train(recipe_for(manifest, optimizer={"batch_size": 17}), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_folder_that_another_process_trains_in_is_left_alone(finished, manifest, tmp_path):
    recipe, run = recipe_for(manifest), RunFolder(tmp_path / "run")
    with run.hold(), pytest.raises(InputError, match="expected a folder that no other process trains in"):
        train(recipe, run.path, resume=False)
    assert not run.recipe_file.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder to write to"):
        train(recipe, tmp_path / "file", resume=False)
    # A finished run is only read.
    with RunFolder(finished).hold():
        assert train(recipe, finished, resume=True)["failure"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: [row.replace("p6,nir,val", "p0,nir,val") for row in rows], "p0"),
        (lambda rows: [row.replace("p1/1.png", "p1/missing.png") for row in rows], "missing.png"),
    ],
)
def test_bad_data_is_one_line_and_exit_status_2(manifest, tmp_path, damage, message):
    from facexfer.recipe import dump_recipe

    rows = damage(manifest.read_text().splitlines())
    bad = manifest.with_name(f"{tmp_path.name}.csv")
    bad.write_text("\n".join(rows) + "\n")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(dump_recipe(recipe_for(bad)))
    done = subprocess.run(
        [sys.executable, str(TOOL), str(recipe), "--out", str(tmp_path / "run")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "run").exists()
