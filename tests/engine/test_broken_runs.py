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
    """Point every picture into the same direction."""
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


@pytest.fixture
def ruined_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement of BatchNorm that finds every channel's mean far from where it is."""

    def ruin(network: nn.Module, images: object, floor: float) -> None:
        generator = torch.Generator().manual_seed(3)
        for layer in network.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
                layer.running_mean.add_(1e5 * torch.randn(layer.running_mean.shape, generator=generator))

    monkeypatch.setattr("facexfer.engine.source.recalibrate_batchnorm", ruin)


@pytest.mark.slow
@pytest.mark.usefixtures("ruined_statistics")
@pytest.mark.parametrize("is_measured", [True, False])
def test_statistics_that_ruin_the_source_fail_a_run_without_steps(
    make: Callable[..., Any], tmp_path: Path, is_measured: bool
) -> None:
    recipe = make(
        method={"name": "adabn"},
        source={"recalibrate_batchnorm": True},
        optimizer={"iterations": None, "epochs": 0},
        evaluation={"untouched": is_measured},
    )
    message = r"^the new BatchNorm statistics broke the network: nir/tar@0\.1 is .* of the untouched source; check the"
    with pytest.raises(DivergedError, match=message):
        train(recipe, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.usefixtures("ruined_statistics")
def test_statistics_that_ruin_the_source_fail_a_run_that_trains(make: Callable[..., Any], tmp_path: Path) -> None:
    recipe = make(method={"name": "l2"}, source={"recalibrate_batchnorm": True})
    with pytest.raises(DivergedError, match="broke the network: .* of the untouched source; lower"):
        train(recipe, tmp_path / "run")
