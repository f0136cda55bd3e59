"""What a run can be trusted with: kills at bad moments, a full disk, and the options of the engine together."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from recipe_files import write_recipe
from safetensors.torch import load_file
from small_faces import write_small_set
from torch import nn

from facexfer import create_backbone
from facexfer.engine import loop
from facexfer.engine.best import BestMetric
from facexfer.engine.gradients import compute_gradients
from facexfer.engine.train import train
from facexfer.errors import InputError, RunError
from facexfer.runs.folder import RunFolder
from facexfer.tasks.face import FaceEvaluator

ROOT = Path(__file__).resolve().parents[2]
KILLED = ROOT / "tests" / "programs" / "killed.py"


@pytest.fixture(scope="module")
def make(recipe_for: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    manifest = write_small_set(tmp_path_factory.mktemp("faces"), train=2, val=2, images=4, modalities=("nir",))
    steps = {"iterations": 6, "batch_size": 4}
    return lambda optimizer=(), **sections: recipe_for(manifest, optimizer={**steps, **dict(optimizer)}, **sections)


def run_with_kills(recipe, folder: Path, kills) -> None:
    write_recipe(recipe, folder / "recipe.toml")
    words = [str(folder / "recipe.toml"), str(folder), json.dumps(kills)]
    subprocess.run(
        [sys.executable, str(KILLED), *words],
        check=True,
        timeout=240,
    )


@pytest.mark.slow
def test_a_run_killed_at_bad_moments_equals_one_that_was_never_stopped(
    assert_same_run: Callable[[Path, Path], None], make: Callable[..., Any], tmp_path: Path
) -> None:
    """SIGKILL while a checkpoint is written, between the stages, in a step and while the result is written."""
    options = {"average_decay": 0.9}
    recipe = make(optimizer=options, evaluation={"best_far": 0.1})
    kills = [
        ("os", "fsync", 3, "after"),  # written, not yet renamed
        ("facexfer.runs.folder.RunFolder", "save_stage", 1, "after"),
        ("facexfer.engine.run_log.RunLog", "losses", 2, "after"),
        ("facexfer.runs.folder.RunFolder", "save_result", 1, "before"),
    ]
    run_with_kills(recipe, tmp_path, kills)
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_a_run_killed_at_random_moments_equals_one_that_was_never_stopped(
    assert_same_run: Callable[[Path, Path], None], make: Callable[..., Any], tmp_path: Path
) -> None:
    moments = np.random.default_rng(7).uniform(0.05, 0.5, 5).round(3).tolist()
    run_with_kills(make(evaluation={"every_epochs": 0.5}), tmp_path, moments)
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_last_checkpoint_is_intact(
    stop_at: Callable[[int], Any], make: Callable[..., Any], tmp_path: Path
) -> None:
    """Files may not grow beyond what half a checkpoint takes: the write fails as on a full disk."""
    recipe = make()
    write_recipe(recipe, tmp_path / "recipe.toml")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", on_step=stop_at(3))
    folder = RunFolder(tmp_path / "run")
    before = folder.checkpoint_file.read_bytes()
    words = [str(tmp_path / "recipe.toml"), "--out", str(folder.path), "--resume"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "train_nir.py"), *words],
        check=False, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: expected to write")
    assert "free some space" in done.stderr
    assert folder.checkpoint_file.read_bytes() == before
    train(recipe, folder.path, resume=True)
    assert folder.finished


@pytest.fixture
def figures_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network that is measured gets the next figure: which is best would else hang on a processor's rounding."""
    measure, known = FaceEvaluator.evaluate, dict[bytes, float]()

    def evaluate(self: FaceEvaluator, backbone: nn.Module, *more: Any) -> dict[str, float | None]:
        weights = b"".join(each.detach().contiguous().numpy().tobytes() for each in backbone.parameters())
        figure = known.setdefault(weights, (0.1, 0.2, 0.15, 0.9, 0.8, 0.7)[len(known)])
        return dict.fromkeys(measure(self, backbone, *more), figure)

    monkeypatch.setattr(FaceEvaluator, "evaluate", evaluate)


@pytest.mark.slow
@pytest.mark.usefixtures("figures_by_hand")
def test_the_engines_options_work_together(make: Callable[..., Any], tmp_path: Path) -> None:
    recipe = make(
        data={"identities_per_batch": 2},
        optimizer={"accumulate": 2, "clip_norm": 1.0, "average_decay": 0.9},
        evaluation={"best_far": 0.1, "patience": 1, "every_epochs": 0.5},
        runtime={"precision": "bf16-mixed", "workers": 1},
    )
    others = set(psutil.Process().children())  # what earlier tests' process pools keep for the whole process
    result = train(recipe, tmp_path / "run", resume=False)
    run = RunFolder(tmp_path / "run")
    records = [record for record in run.metrics() if "figures" in record]
    figures = [record["figures"]["nir/tar@0.1"] for record in records]
    assert result["figures"]["nir/tar@0.1"] == max(figures[1:])
    assert result["best"]["figure"] == "nir/tar@0.1"
    assert json.loads(run.result_file.read_text())["best"] == result["best"]
    assert set(psutil.Process().children()) == others
    # The best network is an earlier one: its figures come under its step, its head with it.
    assert records[-1]["step"] == result["best"]["step"] < records[-2]["step"]
    head, model = load_file(run.path / "head.safetensors"), load_file(run.model_file)
    assert torch.equal(head["weight"], load_file(run.best_head_file)["weight"])
    assert not torch.equal(head["weight"], run.load_checkpoint()["average"]["module.head.weight"])
    best = load_file(run.best_file)
    assert all(torch.equal(best[name], model[name]) for name in best if not name.endswith("num_batches_tracked"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["best.safetensors", "best-head.safetensors"])
def test_a_resumed_run_misses_its_best_network(
    name: str, stop_at: Callable[[int], Any], make: Callable[..., Any], tmp_path: Path
) -> None:
    recipe = make(method={"name": "l2"}, evaluation={"untouched": False, "best_far": 0.1, "every_epochs": 0.5})
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", on_step=stop_at(3))
    kept = (tmp_path / "run" / name).rename(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: expected the best network so far, .* found none; put the file ba"):
        train(recipe, tmp_path / "run", resume=True)
    kept.rename(tmp_path / "run" / name)
    assert train(recipe, tmp_path / "run", resume=True)["steps"] == 6


@pytest.mark.slow
def test_no_loader_worker_outlives_a_run_that_fails(
    stop_at: Callable[[int], Any], make: Callable[..., Any], tmp_path: Path
) -> None:
    recipe = make(optimizer={"iterations": 20}, runtime={"workers": 2}, evaluation={"untouched": False})
    others = set(psutil.Process().children())
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", on_step=stop_at(2))
    assert set(psutil.Process().children()) == others


@pytest.mark.slow
def test_frozen_statistics_stay_and_small_batches_are_warned_of(
    make: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {"iterations": 2, "learning_rate": 0.001}
    plain = make(optimizer=short, evaluation={"untouched": False})
    frozen = make(optimizer={**short, "frozen_batchnorm": True}, evaluation={"untouched": False})
    train(plain, tmp_path / "plain", resume=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "warning: BatchNorm sees 4 images per pass, fewer than 16: its statistics are noise; raise" in said
    assert "set optimizer.frozen_batchnorm = true" in said
    train(frozen, tmp_path / "frozen", resume=False)
    assert "BatchNorm sees" not in capsys.readouterr().out
    start = create_backbone("mobilefacenet_slim").state_dict()
    moved = [load_file(RunFolder(tmp_path / name).model_file) for name in ("plain", "frozen")]
    statistics = [name for name in start if name.endswith(("running_mean", "running_var"))]
    assert not any(torch.equal(start[name], moved[0][name]) for name in statistics)
    assert all(torch.equal(start[name], moved[1][name]) for name in statistics)


def test_weights_that_a_step_breaks_are_neither_measured_nor_kept(make: Callable[..., Any], tmp_path: Path) -> None:
    """The loss before the step is finite; only the next one would show it."""

    def break_at_two(step) -> None:
        if step.number == 2:
            torch.nn.init.constant_(step.backbone.linear.weight, torch.inf)

    with pytest.raises(RunError, match=r"weights are no longer finite after step 2; lower .* checkpoint is of step 1"):
        train(make(evaluation={"every_epochs": 1}), tmp_path / "run", on_step=break_at_two)
    assert RunFolder(tmp_path / "run").load_checkpoint()["step"] == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, where 16-mixed works")
def test_a_precision_that_is_not_to_be_had_is_an_error(make: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a GPU for 16-mixed, found none; take bf16-mixed or 32-true"):
        train(make(runtime={"precision": "16-mixed"}), tmp_path / "run", resume=False)
    with pytest.raises(InputError, match=r"runtime.precision: expected '32-true', .* got '16-true'"):
        make(runtime={"precision": "16-true"})
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "mps", "gpu"])
def test_a_gpu_that_is_not_there_is_one_line(make: Callable[..., Any], tmp_path: Path, name: str) -> None:
    if name != "cuda" and torch.backends.mps.is_available():
        pytest.skip("there is Apple's GPU")
    recipe = make(runtime={"accelerator": name})
    with pytest.raises(InputError, match=f"^runtime.accelerator: expected a GPU for {name}, found none; leave it out$"):
        train(recipe, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"runtime.accelerator: expected 'auto', .* got 'tpu'"):
        make(runtime={"accelerator": "tpu"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, where steps can be captured")
def test_cuda_graphs_without_a_gpu_are_refused(make: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cuda_graphs: expected a GPU, found none; leave it out"):
        train(make(runtime={"compile": True, "cuda_graphs": True}), tmp_path / "run", resume=False)


def test_cuda_graphs_need_a_compiled_step(make: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="expected compile = true for cuda_graphs, got false; set both, or leave"):
        make(runtime={"cuda_graphs": True})


@pytest.mark.slow
def test_accumulation_gives_the_same_step(make: Callable[..., Any], tmp_path: Path) -> None:
    """With BatchNorm's statistics held; two passes of two images against one of four."""
    networks = []
    for parts in (1, 2):
        recipe = make(
            optimizer={"accumulate": parts, "frozen_batchnorm": True, "iterations": 2},
            evaluation={"untouched": False},
        )
        train(recipe, tmp_path / f"run{parts}", resume=False)
        networks.append(load_file(RunFolder(tmp_path / f"run{parts}").model_file))
    for name, one in networks[0].items():
        assert torch.allclose(one.double(), networks[1][name].double(), atol=1e-5), name


@pytest.mark.slow
def test_accumulation_shares_the_images_of_the_source_as_well(
    make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(fabric: Any, wrapped: Any, optimizer: Any, parts: Any, more: Any) -> Any:
        seen.append([len(images) for images, _, _ in more])
        return compute_gradients(fabric, wrapped, optimizer, parts, more)

    monkeypatch.setattr(loop, "compute_gradients", watched)
    method = {"method": {"name": "soft_ft", "old_task": "source_set"}, "source_data": {"modality": "nir"}}
    networks = []
    for parts in (1, 2):
        recipe = make(
            **method,
            optimizer={"accumulate": parts, "frozen_batchnorm": True, "iterations": 2},
            evaluation={"untouched": False},
            runtime={"precision": "64-true"},
        )
        train(recipe, tmp_path / f"run{parts}", resume=False)
        networks.append(load_file(RunFolder(tmp_path / f"run{parts}").model_file))
    assert seen == [[4], [4], [2, 2], [2, 2]]
    for name, one in networks[0].items():
        assert torch.allclose(one.double(), networks[1][name].double(), atol=1e-5), name


def test_a_batch_that_cannot_be_shared_is_an_error(make: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="share in 3 parts each, got 4; make optimizer.batch_size a multiple of 3"):
        train(make(optimizer={"accumulate": 3}), tmp_path / "run", resume=False)
    with pytest.raises(InputError, match="3 identities can share, got 4"):
        train(make(data={"identities_per_batch": 3}), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_the_best_network_is_never_chosen_by_test_data(make: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a validation split to choose by, got data.val_split = 'test'"):
        BestMetric(make(data={"val_split": "test"}, evaluation={"best_far": 0.1}))
    with pytest.raises(InputError, match=r"expected one of evaluation.fars \[0.1\], got 0.2"):
        BestMetric(make(evaluation={"best_far": 0.2}))
    with pytest.raises(InputError, match="expected evaluation.best_far with it"):
        BestMetric(make(evaluation={"patience": 2}))
    for name in ("lfw-test2", "lfwtest", "Test", "latest-test"):
        with pytest.raises(InputError, match="expected a validation split to choose by"):
            BestMetric(make(data={"val_split": name}, evaluation={"best_far": 0.1}))
    # A word that ends alike, and a split that folds do not read.
    BestMetric(make(data={"val_split": "latest"}, evaluation={"best_far": 0.1}))
    BestMetric(make(data={"val_split": "test", "folds": 2, "fold": 1}, evaluation={"best_far": 0.1}))


@pytest.mark.parametrize("is_measured", [False, True])
def test_frozen_statistics_stay_when_weights_are_interpolated(
    is_measured: bool, make: Callable[..., Any], tmp_path: Path
) -> None:
    frozen = {"iterations": 1, "frozen_batchnorm": True, "source_share": 0.3, "final_batchnorm": is_measured}
    train(make(method={"name": "l2"}, optimizer=frozen, evaluation={"untouched": False}), tmp_path / "run")
    start = create_backbone("mobilefacenet_slim").state_dict()
    trained = load_file(RunFolder(tmp_path / "run").model_file)
    statistics = [name for name in start if name.endswith(("running_mean", "running_var"))]
    assert statistics
    assert all(torch.equal(trained[name], start[name]) != is_measured for name in statistics)


def test_a_far_that_the_pairs_do_not_support_chooses_no_network(make: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"best_far: expected a FAR that the validation pairs support, \d.* got 1e-06"):
        train(make(evaluation={"fars": [0.1, 1e-6], "best_far": 1e-6}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_best_network_is_not_chosen_among_unlike_ones(make: Callable[..., Any]) -> None:
    options = {"source_share": 0.5, "final_batchnorm": True}
    with pytest.raises(
        InputError, match="like the last one, got optimizer.source_share and optimizer.final_batchnorm, which changes"
    ):
        BestMetric(make(optimizer=options, evaluation={"best_far": 0.1}))
    BestMetric(make(optimizer=options))


def test_the_first_of_equal_figures_is_the_best_and_patience_runs_out(make: Callable[..., Any], tmp_path: Path) -> None:
    best = BestMetric(make(evaluation={"best_far": 0.1, "patience": 2}))
    assert [best.see(step, {"nir/tar@0.1": tar}) for step, tar in enumerate((0.5, 0.7, 0.7, 0.6))] == [
        True, True, False, False,
    ]  # fmt: skip
    assert best.is_exhausted
    assert (best.state()["step"], best.state()["value"]) == (1, 0.7)
    best.start_stage()
    assert not best.is_exhausted
