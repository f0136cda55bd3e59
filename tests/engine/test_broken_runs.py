"""Runs whose network breaks: they fail, they keep what was good, and runs that go well do neither."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_faces import write_small_set
from torch import nn

from facexfer.engine.step import TrainedStep
from facexfer.engine.train import train
from facexfer.errors import DivergedError
from facexfer.runs.folder import RunFolder, load_backbone_file

ROOT = Path(__file__).resolve().parents[2]
SOURCE = {"weights": str(ROOT / "facexfer" / "recipes" / "demo-source.safetensors")}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"), train=2, val=8, images=3)


@pytest.fixture(scope="module")
def make(recipe_for: Callable[..., Any], manifest: Path) -> Callable[..., Any]:
    """A source that tells the patterns apart, and steps that leave it as good as it is."""
    defaults: dict[str, dict[str, Any]] = {
        "source": SOURCE,
        "evaluation": {"untouched": False, "every_epochs": 50},
        "optimizer": {"iterations": 4, "batch_size": 6, "learning_rate": 1e-4},
    }

    def make(**sections: Any) -> Any:
        names = {**defaults, **sections}
        return recipe_for(manifest, **{name: {**defaults.get(name, {}), **sections.get(name, {})} for name in names})

    return make


def collapse(network: nn.Module) -> None:
    """Give every picture the same direction."""
    weights = [each for each in network.parameters() if each.dim() >= 2][-1]
    with torch.no_grad():
        weights[:] = weights[0]


def is_collapsed(network: nn.Module) -> bool:
    weights = [each for each in network.parameters() if each.dim() >= 2][-1]
    return bool((weights - weights[0]).norm() < 0.1 * weights.norm())


@pytest.mark.slow
def test_a_csd_run_that_breaks_late_keeps_the_checkpoint_before(make: Callable[..., Any], tmp_path: Path) -> None:
    """Nothing is measured on the way, and of the window that the break falls into half the losses are good."""

    def break_late(step: TrainedStep) -> None:
        if step.number == 3:
            collapse(step.backbone)

    recipe = make(method={"name": "csd"}, companions={"match": "capture"}, runtime={"log_every_steps": 2})
    with pytest.raises(DivergedError, match=r"far below the 100.* the one before it, of step 2, is kept as good\."):
        train(recipe, tmp_path / "run", on_step=break_late)
    run = RunFolder(tmp_path / "run")
    assert is_collapsed(load_backbone_file(run.checkpoint_file))
    assert not is_collapsed(load_backbone_file(run.good_file))


@pytest.mark.slow
def test_a_run_that_ends_well_keeps_one_checkpoint(make: Callable[..., Any], tmp_path: Path) -> None:
    assert train(make(method={"name": "csd"}, companions={"match": "capture"}), tmp_path / "run")["failure"] is None
    assert {file.name for file in (tmp_path / "run" / "checkpoints").iterdir()} == {"last.safetensors"}
