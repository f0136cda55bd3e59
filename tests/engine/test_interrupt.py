"""A run that is asked to stop ends its step, saves, and goes on as if it had never stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from recipe_files import write_recipe
from small_faces import write_small_set

from facexfer.engine import interrupt, loop
from facexfer.engine import train as training
from facexfer.engine.interrupt import StopRequest
from facexfer.engine.train import train
from facexfer.runs.folder import RunFolder

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_nir.py"
# No checkpoint is due before the end, and losses are written down every third step only.
SLOW_TO_SAVE = {"checkpoint_seconds": 1000, "log_every_steps": 3}


@pytest.fixture(scope="module")
def make(recipe_for: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    manifest = write_small_set(tmp_path_factory.mktemp("faces"), train=2, val=2, images=4, modalities=("nir",))

    def make(workers: int = 0, **evaluation: float):
        return recipe_for(
            manifest,
            optimizer={"iterations": 6, "batch_size": 4},
            evaluation={"untouched": False, **evaluation},
            runtime={**SLOW_TO_SAVE, "workers": workers},
        )

    return make


@pytest.fixture(scope="module")
def whole(make: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(make(), run)
    return run


def send_at(number: int, kind) -> Callable[..., Any]:
    def send(step) -> None:
        if step.number == number:
            os.kill(os.getpid(), kind)

    return send


@pytest.mark.parametrize(
    ("step", "kind"),
    [(1, signal.SIGINT), (2, signal.SIGTERM), (3, signal.SIGINT), (6, signal.SIGINT)],
    ids=["between log lines", "sigterm", "at a stage's end", "at the last step"],
)
def test_a_stopped_run_has_saved_and_goes_on_bit_for_bit(
    assert_same_run: Callable[..., Any],
    make: Callable[..., Any],
    whole: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    step: int,
    kind,
) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt, match=rf"stopped after step {step} of 6; continue with --resume"):
        train(make(), run.path, on_step=send_at(step, kind))
    assert "stopping after this step" in capfd.readouterr().err
    assert run.load_checkpoint()["step"] == step
    train(make(), run.path, resume=True)
    assert_same_run(run.path, whole)


def test_a_stop_in_the_step_in_which_patience_ends_is_heeded(make: Callable[..., Any], tmp_path: Path) -> None:
    """The first figure is the best; that of the second step is no better, so that the stage of three steps ends."""
    recipe = make(best_far=0.1, patience=1, every_epochs=0.5)
    # Two figures that are equal.
    still = recipe.optimizer.model_copy(update={"learning_rate": 1e-12, "frozen_batchnorm": True})
    recipe = recipe.model_copy(update={"optimizer": still})
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3 of 6"):
        train(recipe, tmp_path / "run", on_step=send_at(2, signal.SIGINT))
    assert [row["step"] for row in RunFolder(tmp_path / "run").metrics() if "losses" in row] == [2]


def test_a_stop_at_the_start_of_a_resumed_run_names_the_checkpoint_that_is_there(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(make(), tmp_path / "run", on_step=send_at(2, signal.SIGINT))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    # Before what the checkpoint holds is put back, as while a large set's companions are embedded.
    monkeypatch.setattr(loop, "make_head", stop)
    with pytest.raises(KeyboardInterrupt, match="stopped; the last good checkpoint is of step 2; continue with --res"):
        train(make(), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("owner", "name", "message"),
    [
        (loop, "make_head", "stopped; no checkpoint has been saved yet; --resume starts from the beginning"),
        (training, "SourceKnowledge", "stopped before the first step; continue with --resume"),
    ],
)
def test_a_stop_before_the_first_checkpoint_says_what_to_do(
    assert_same_run: Callable[..., Any],
    make: Callable[..., Any],
    whole: Path,
    tmp_path: Path,
    owner: ModuleType,
    name: str,
    message: str,
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, stop)
        with pytest.raises(KeyboardInterrupt, match=f"^{message}$"):
            train(make(), tmp_path / "run")
    train(make(), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.slow
def test_ctrl_c_reaches_the_workers_too_and_loses_nothing(
    assert_same_run: Callable[[Path, Path], None], make: Callable[..., Any], whole: Path, tmp_path: Path
) -> None:
    """As a terminal does: the signal goes to the whole process group."""
    write_recipe(make(workers=1), tmp_path / "recipe.toml")
    program = (
        "import os, signal\nfrom facexfer.engine.train import train\n"
        "def stop(step):\n    if step.number == 1: os.killpg(0, signal.SIGINT)\n"
        f"train({str(tmp_path / 'recipe.toml')!r}, {str(tmp_path / 'run')!r}, on_step=stop)"
    )
    words = [sys.executable, "-c", program]
    stopped = subprocess.run(words, check=False, capture_output=True, text=True, start_new_session=True)
    assert stopped.stderr.splitlines()[-1] == "KeyboardInterrupt: stopped after step 1 of 6; continue with --resume"
    words = [sys.executable, str(TOOL), str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run"), "--resume"]
    subprocess.run(words, check=True, capture_output=True)
    assert_same_run(tmp_path / "run", whole)


def test_the_second_request_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "_ONE_REQUEST_SECONDS", 0.0)
    before = signal.getsignal(signal.SIGINT)
    with StopRequest(speaks=False) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_one_press_that_comes_twice_is_one_request() -> None:
    with StopRequest(speaks=False) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
