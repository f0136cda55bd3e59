"""Whole runs on a tiny set: stages, resume, errors, what a run folder holds."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hooks import count_hooks
from recipe_files import write_recipe
from safetensors.torch import load_file
from small_faces import write_small_set
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.engine import loop, verdict
from facexfer.engine.evaluation import Evaluation
from facexfer.engine.stage import make_objective
from facexfer.engine.step import TrainedStep
from facexfer.engine.train import train
from facexfer.errors import DivergedError, InputError, RunError
from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder, load_backbone
from facexfer.transfer.objective import Objective

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_nir.py"
MEASURED = {"evaluation": {"pairs": [{"probe": "nir"}, {"probe": "nir", "gallery": "vis"}]}}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def make(manifest: Path, recipe_for: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **sections: recipe_for(manifest, **{**MEASURED, **sections})


@pytest.fixture(scope="module")
def recipe(make: Callable[..., Any]) -> Recipe:
    return make()


@pytest.fixture(scope="module")
def finished(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(recipe, run, resume=False)
    return run


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"optimizer": {"batch_size": 1, "iterations": 2}}, "expected at least two images at a time for a"),
        ({"optimizer": {"batch_size": 4, "accumulate": 4, "iterations": 2}}, "expected at least two images at a time"),
        ({"data": {"cache": "FILE"}}, "expected a folder to keep crops in, got: a file; name another in data.cache"),
        ({"data": {"cache": "FILE/x"}}, "expected a folder to keep crops in, got: Not a directory"),
    ],
)
def test_what_a_first_step_would_stumble_over_leaves_no_folder(
    make: Callable[..., Any], tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    (tmp_path / "file").touch()
    placed = json.loads(json.dumps(sections).replace("FILE", str(tmp_path / "file")))
    with pytest.raises(InputError, match=message):
        train(make(**placed), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_single_images_train_where_batchnorm_is_frozen(make: Callable[..., Any], tmp_path: Path) -> None:
    settings = {"batch_size": 1, "iterations": 2, "frozen_batchnorm": True}
    assert train(make(optimizer=settings), tmp_path / "run")["steps"] == 2


def test_a_run_folder_holds_recipe_metrics_network_and_result(finished: Path) -> None:
    folder = RunFolder(finished)
    assert not folder.good_file.exists()
    assert folder.recipe_file.read_text().startswith('task = "face"')
    records = RunFolder(finished).metrics()
    assert [record["step"] for record in records if "losses" in record] == [1, 2, 3, 4]
    assert [record["stage"] for record in records if "losses" in record] == ["ast", "ast", "act", "act"]
    assert set(records[0]["figures"]) == {"nir/tar@0.1", "vis-nir/tar@0.1"}
    result = json.loads(folder.result_file.read_text())
    assert result["figures"].keys() == result["untouched"].keys()
    assert set(result["data"]) == {"training", "validation"}
    assert any(file.name.startswith("events.out.tfevents") for file in finished.iterdir())
    backbone = load_backbone(finished)
    assert not backbone.training
    assert backbone.info.name == "mobilefacenet_slim"


def test_a_head_that_cannot_learn_is_said_on_screen_and_in_the_metrics(
    make: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(make(method={"name": "l2_fe"}, optimizer={"learning_rate": 1e-9}), tmp_path / "run", resume=False)
    (warning,) = [record["warning"] for record in RunFolder(tmp_path / "run").metrics() if "warning" in record]
    assert "the head does not learn" in warning
    assert "warning: the head does not learn" in capsys.readouterr().out


@pytest.fixture
def objectives(monkeypatch: pytest.MonkeyPatch):
    """What the loop makes of each stage: the objective, and its reference, network and head as they are then."""
    made = []

    def keep(setup, index, reference, backbone, head, say):
        states = [{key: value.clone() for key, value in each.state_dict().items()} for each in (backbone, head)]
        made.append((make_objective(setup, index, reference, backbone, head, say), reference, *states))
        return made[-1][0]

    monkeypatch.setattr(loop, "make_objective", keep)
    return made


@pytest.mark.slow
def test_stage_two_starts_from_stage_one(recipe: Recipe, objectives, tmp_path: Path) -> None:
    """The source of stage II is the stage-I target, and the head is carried over."""
    train(recipe, tmp_path / "run", resume=False)
    (first, _, start, first_head), (second, reference, after_one, second_head) = objectives
    source = reference.state_dict()
    assert all(torch.equal(source[key], after_one[key]) for key in source)
    assert any(not torch.equal(start[key], after_one[key]) for key in start)
    assert first.head is second.head
    assert not torch.equal(first_head["weight"], second_head["weight"])
    assert not second.source.training
    assert count_hooks(first.source, second.source, second.backbone) == 0


@pytest.mark.slow
def test_the_source_can_be_kept_in_stage_two(make: Callable[..., Any], objectives, tmp_path: Path) -> None:
    train(make(method={"name": "afa", "keep_source": True}), tmp_path / "run", resume=False)
    (_, first, *_), (_, second, *_) = objectives
    assert first is second


@pytest.mark.slow
def test_each_step_is_shown_to_the_caller(make: Callable[..., Any], tmp_path: Path) -> None:
    """The step before the next checkpoint: a run that the callback ends goes on from the step before it."""
    steps: list[TrainedStep] = []
    result = train(make(method={"name": "l2"}), tmp_path / "run", on_step=steps.append)
    assert [step.number for step in steps] == list(range(1, result["steps"] + 1))
    logged = [record for record in RunFolder(tmp_path / "run").metrics() if "losses" in record]
    for step, record in zip(steps, logged, strict=True):
        assert step.stage == record["stage"]
        assert {name: loss.item() for name, loss in step.losses.items()} == pytest.approx(record["losses"])
    trained = load_file(RunFolder(tmp_path / "run").model_file)
    assert all(torch.equal(value, trained[key]) for key, value in steps[-1].backbone.state_dict().items())
    assert steps[-1].head is steps[0].head


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_resumed_run_equals_one_that_was_never_stopped(
    recipe: Recipe,
    finished: Path,
    tmp_path: Path,
    stop_at: Callable[[int], Any],
    assert_same_run: Callable[[Path, Path], None],
    after: int,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", on_step=stop_at(after + 1))
    assert not RunFolder(tmp_path / "run").finished
    train(recipe, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", finished)


@pytest.mark.slow
def test_in_bfloat16_slow_layers_stay_in_float32_and_a_stopped_run_resumes(
    make: Callable[..., Any],
    tmp_path: Path,
    stop_at: Callable[[int], Any],
    assert_same_run: Callable[[Path, Path], None],
) -> None:
    recipe = make(runtime={"precision": "bf16-mixed"}, optimizer={"iterations": 4}, evaluation={"untouched": False})
    kinds: set[type] = set()
    train(recipe, tmp_path / "whole", on_step=lambda step: kinds.update(map(type, step.backbone.modules())))
    assert "_InFloat32" in {kind.__name__ for kind in kinds}
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", on_step=stop_at(4))
    train(recipe, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_adamw_moves_each_weight_by_the_rate_and_resumes(
    make: Callable[..., Any],
    tmp_path: Path,
    stop_at: Callable[[int], Any],
    assert_same_run: Callable[[Path, Path], None],
) -> None:
    rate = 1e-5
    recipe = make(method={"name": "l2"}, optimizer={"name": "adamw", "learning_rate": rate, "schedule": "cosine"})
    seen: list[dict[str, torch.Tensor]] = []
    train(
        recipe,
        tmp_path / "whole",
        on_step=lambda step: seen.append({name: value.clone() for name, value in step.backbone.named_parameters()}),
    )
    moved = torch.cat([(seen[1][name] - seen[0][name]).abs().flatten() for name in seen[0]])
    assert 0.5 * rate < moved.median()
    assert moved.max() < 3 * rate
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", on_step=stop_at(2))
    train(recipe, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_form_of_sgd_is_not_made_of_adamw(make: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match='expected optimizer.name = "sgd" for spd, which is a form of SGD, got adamw'):
        train(make(method={"name": "spd"}, optimizer={"name": "adamw"}), tmp_path / "run")


def test_a_finished_run_is_left_alone(recipe: Recipe, finished: Path) -> None:
    before = {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()}
    result = train(recipe, finished, resume=True)
    assert result == json.loads(RunFolder(finished).result_file.read_text())
    assert {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()} == before


@pytest.mark.slow
def test_a_recipe_may_be_a_mapping_and_a_folder_a_string(recipe: Recipe, tmp_path: Path) -> None:
    values = recipe.model_dump(exclude_unset=True)
    result = train(values, str(tmp_path / "run"))
    assert result == train(values, str(tmp_path / "run"), resume=True)
    assert set(result["figures"]) == {"nir/tar@0.1", "vis-nir/tar@0.1"}


def test_a_run_that_diverges_stops_with_the_cause_and_the_last_checkpoint_stays(
    make: Callable[..., Any], tmp_path: Path
) -> None:
    recipe = make(method={"name": "dfa", "alpha": 1e-4}, optimizer={"learning_rate": 1e20, "iterations": 9})
    with pytest.raises(RunError, match=r"no longer finite after step \d+; lower optimizer.learning_rate or"):
        train(recipe, tmp_path / "run", resume=False)
    assert not RunFolder(tmp_path / "run").finished
    assert not RunFolder(tmp_path / "run").model_file.exists()
    with pytest.raises(DivergedError, match="no longer finite .*with another --out and what it names changed by --set"):
        train(recipe, tmp_path / "run", resume=True)


def test_embeddings_that_training_broke_are_no_bad_input(make: Callable[..., Any], tmp_path: Path) -> None:
    """The weights are finite after the last step, what they make of pictures is not."""
    recipe = make(method={"name": "l2"}, optimizer={"learning_rate": 1e6, "iterations": 2})
    with pytest.raises(DivergedError, match="embeddings are no longer finite or all zeros after step 2; lower"):
        train(recipe, tmp_path / "run")
    assert "embeddings" in str(RunFolder(tmp_path / "run").failure)


def test_what_is_refused_before_the_first_step_leaves_the_folder_free(make: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    for method in ({"name": "afa", "taps": 99}, {"name": "afa", "taps": 99, "attention": "fixed"}):
        with pytest.raises(InputError, match="taps"):
            train(make(method=method), tmp_path / "run")
        left = {file.name for file in (tmp_path / "run").rglob("*") if file.is_file()}
        assert left == {"notes.txt", ".lock"}
    assert train(make(method={"name": "l2"}, optimizer={"iterations": 1}), tmp_path / "run")["steps"] == 1


def test_a_finished_run_that_failed_fails_again_even_without_its_mark(
    make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluation, "_failure", lambda self, figures: "it broke")
    recipe, run = make(optimizer={"iterations": 1}), RunFolder(tmp_path / "run")
    with pytest.raises(DivergedError, match="it broke"):
        train(recipe, run.path)
    with pytest.raises(DivergedError, match="changed by --set$"):
        train(recipe, run.path, resume=True)
    run.failure_file.unlink()
    with pytest.raises(DivergedError, match="this run is over and has failed: it broke"):
        train(recipe, run.path, resume=True)


def test_an_error_of_the_users_own_function_is_no_full_disk(make: Callable[..., Any], tmp_path: Path) -> None:
    def unreachable(step: TrainedStep) -> None:
        raise ConnectionError("dashboard unreachable")

    with pytest.raises(ConnectionError, match="dashboard unreachable"):
        train(make(), tmp_path / "run", on_step=unreachable)


@pytest.mark.slow
def test_a_run_far_below_its_source_fails_with_its_cause_and_is_neither_resumed_nor_exported(
    make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "KEPT", 1e9)
    monkeypatch.setattr(verdict, "MARGIN", -1.0)
    # The untrained source's TAR is 0 within NIR.
    across = {"pairs": [{"probe": "nir", "gallery": "vis"}], "untouched": False}
    small = {"backbone": "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"}
    recipe = make(method={"name": "l2"}, source=small, optimizer={"iterations": 2}, evaluation=across)
    run = tmp_path / "run"
    with pytest.raises(DivergedError, match="far below .* it started from; .*the one before it, of step 1, is kept"):
        train(recipe, run, resume=False)
    result = json.loads(RunFolder(run).result_file.read_text())
    assert "vis-nir/tar@0.1 is" in result["failure"]
    with pytest.raises(DivergedError, match="this run failed: training broke the network"):
        train(recipe, run, resume=True)
    file = tmp_path / "network.onnx"
    refused = CliRunner().invoke(app, ["export", str(run), "--out", str(file)])
    assert isinstance(refused.exception, DivergedError)
    assert "--even-if-failed" in str(refused.exception)
    assert not file.exists()
    words = ["export", str(run), "--out", str(file), "--opset", "17", "--even-if-failed"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert file.exists()


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run_with_part_stage_step_and_rate(
    make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, steps = Objective.forward, []

    def overflow_at_step_three(self, *given: Any, **more: Any):
        steps.append(1)
        losses = forward(self, *given, **more)
        return {**losses, "spatial": losses["spatial"] * torch.inf} if len(steps) == 3 else losses

    monkeypatch.setattr(Objective, "forward", overflow_at_step_three)
    recipe = make(optimizer={"iterations": 9}, evaluation={"untouched": False})
    message = r"loss part 'spatial' became inf in stage ast at step 3 \(learning rate 0.01\); lower .* is of step 2"
    with pytest.raises(RunError, match=message):
        train(recipe, tmp_path / "run", resume=False)
    assert RunFolder(tmp_path / "run").load_checkpoint()["step"] == 2


def test_feature_extraction_leaves_the_network_as_it_was(make: Callable[..., Any], tmp_path: Path) -> None:
    train(make(method={"name": "l2_fe"}), tmp_path / "run", resume=False)
    result = json.loads(RunFolder(tmp_path / "run").result_file.read_text())
    assert result["figures"] == result["untouched"]


def test_an_existing_run_is_not_overwritten(recipe: Recipe, finished: Path) -> None:
    with pytest.raises(InputError, match="there is a run in it; give --resume or another --out"):
        train(recipe, finished, resume=False)


def test_resuming_with_another_recipe_is_an_error(
    recipe: Recipe, make: Callable[..., Any], finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"optimizer.iterations was 4, now 5; give another --out"):
        train(make(optimizer={"iterations": 5}), finished, resume=True)
    with pytest.raises(InputError, match="expected a run to resume, found none"):
        train(recipe, tmp_path / "none", resume=True)


def test_too_few_images_for_a_batch_is_an_error_before_anything_is_written(
    make: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="16 images for batches of 17; lower optimizer.batch_size"):
        train(make(optimizer={"batch_size": 17}), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_folder_that_another_process_trains_in_is_left_alone(recipe: Recipe, finished: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
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
def test_bad_data_is_one_line_and_exit_status_2(
    recipe_for: Callable[..., Recipe],
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[..., Any],
    message: str,
) -> None:
    rows = damage(manifest.read_text().splitlines())
    bad = manifest.with_name(f"{tmp_path.name}.csv")
    bad.write_text("\n".join(rows) + "\n")
    recipe = write_recipe(recipe_for(bad), tmp_path / "recipe.toml")
    monkeypatch.setattr(sys, "argv", [str(TOOL), str(recipe), "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "run").exists()
