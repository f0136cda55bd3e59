"""Checkpoints: the last good one stays for as long as a run looks wrong."""

from pathlib import Path

import pytest
import torch
from lightning_fabric.plugins import MixedPrecision

from facexfer.engine.resume import Checkpoints
from facexfer.recipe import parse_recipe
from facexfer.runs.folder import RunFolder
from facexfer.runs.state import load_state
from facexfer.runtime import Fabric


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    values = {"source": {"backbone": "mbf"}, "data": {}, "method": {"name": "l2"}, "optimizer": {"iterations": 9}}
    folder.start(parse_recipe(values, "test"))
    return folder


def checkpoints_of(run: RunFolder) -> Checkpoints:
    return Checkpoints(Fabric(accelerator="cpu", devices=1), run, 0)


def test_the_last_good_checkpoint_is_kept_with_those_of_a_run_gone_wrong(run: RunFolder) -> None:
    checkpoints = checkpoints_of(run)
    for step, is_wrong in ((2, False), (4, True), (6, True)):
        checkpoints.save(step, {}, is_wrong)
    assert load_state(run.good_file)["step"] == 2
    assert run.load_checkpoint()["step"] == 6
    assert checkpoints.describe_good() == "the last good checkpoint is of step 2, good.safetensors"


def test_a_resumed_run_still_knows_what_was_good(run: RunFolder) -> None:
    first, second = checkpoints_of(run), checkpoints_of(run)
    first.save(2, {}, False)
    first.save(4, {}, True)
    second.restore(run.load_checkpoint())
    second.save(6, {}, True)
    assert load_state(run.good_file)["step"] == 2
    assert "of step 2" in second.describe_good()


def test_a_run_that_recovers_has_one_good_checkpoint_again(run: RunFolder) -> None:
    checkpoints = checkpoints_of(run)
    for step, is_wrong in ((2, True), (4, True), (6, False)):
        checkpoints.save(step, {}, is_wrong)
        assert not run.good_file.exists()
    assert checkpoints.describe_good() == "the last good checkpoint is of step 6"


def test_a_network_that_was_found_broken_is_not_called_good(run: RunFolder) -> None:
    checkpoints = checkpoints_of(run)
    checkpoints.save(6, {}, False)
    assert "is of step 6" in checkpoints.describe_good(failed_at=7)
    assert checkpoints.describe_good(failed_at=6).startswith("no good checkpoint is left")


def test_the_state_before_the_last_stays_until_the_network_is_measured(run: RunFolder) -> None:
    checkpoints = checkpoints_of(run)
    checkpoints.save(4, {}, False)
    checkpoints.save(6, {}, False, is_judged=False)
    resumed = checkpoints_of(run)
    resumed.restore(run.load_checkpoint())
    for each in (checkpoints, resumed):
        assert each.describe_good() == "the last good checkpoint is of step 6"
        assert each.describe_good(failed_at=6).endswith("the one before it, of step 4, is kept as good.safetensors")
    assert load_state(run.good_file)["step"] == 4
    resumed.accept()
    assert not run.good_file.exists()


def test_the_last_state_of_a_run_gone_wrong_keeps_the_good_one(run: RunFolder) -> None:
    checkpoints = checkpoints_of(run)
    for step, is_wrong in ((2, False), (4, True)):
        checkpoints.save(step, {}, is_wrong)
    checkpoints.save(6, {}, False, is_judged=False)
    assert load_state(run.good_file)["step"] == 2
    assert checkpoints.describe_good(failed_at=6).endswith("of step 2, is kept as good.safetensors")


def test_no_good_checkpoint_is_named_where_the_run_looked_wrong_before_the_first_one(run: RunFolder) -> None:
    checkpoints = checkpoints_of(run)
    assert checkpoints.describe_good() == checkpoints.describe_good(failed_at=0) == "no checkpoint has been saved yet"
    checkpoints.save(4, {}, True)
    assert checkpoints.describe_good().startswith("there is no good checkpoint")
    checkpoints.save(6, {}, False)
    assert checkpoints.describe_good() == "the last good checkpoint is of step 6"


def test_the_loss_scale_comes_back_also_between_two_stages(run: RunFolder) -> None:
    """Fabric's own precision for float16, with its scaler on the CPU."""

    def scaled() -> tuple[Checkpoints, torch.amp.GradScaler]:
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        precision = MixedPrecision("16-mixed", "cpu", scaler)
        return Checkpoints(Fabric(accelerator="cpu", devices=1, plugins=precision), run, 0), scaler

    first, scaler = scaled()
    scaler.scale(torch.ones(1))
    scaler.update(64.0)
    first.save(2, {"terms": None, "optimizer": None}, False)
    second, resumed = scaled()
    second.restore(run.load_checkpoint())
    resumed.scale(torch.ones(1))
    assert resumed.get_scale() == scaler.get_scale() == 64
