"""Frozen class means: the classifier stays where the untouched source puts the companions, the backbone moves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_faces import write_small_set
from torch import nn
from torch.nn import functional as F

from facexfer import create_backbone
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.heads import ArcFaceHead
from facexfer.runs.state import load_state
from facexfer.transfer import methods
from facexfer.transfer.objective import Objective


def test_gradients_reach_the_backbone_and_not_the_head() -> None:
    (stage,) = methods.create("class_means")
    layer, head = nn.Linear(12, 4), ArcFaceHead(4, 3, scale=8.0, margin=0.1)
    backbone = nn.Sequential(nn.Flatten(), layer)
    head.start_from_class_means(torch.eye(3, 4))
    objective = Objective(backbone, head, stage, {}, (), backbone)
    objective(torch.randn(2, 3, 2, 2), torch.tensor([0, 2]))["classification"].backward()
    assert head.weight.grad is None
    assert layer.weight.grad.abs().sum() > 0
    (group,) = objective.parameter_groups(stage)
    assert group == {"params": [*layer.parameters()], "weight_decay": 5e-4}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"), train=3, val=2, images=2)


@pytest.fixture(scope="module")
def make(manifest: Path, recipe_for: Callable[..., Any]) -> Callable[..., Any]:
    def make(**sections: Any):
        defaults = {
            "source": {"recalibrate_batchnorm": True},
            "companions": {"match": "identity"},
            "head": {"start": "companions"},
            "method": {"name": "class_means"},
            "optimizer": {"iterations": 2, "batch_size": 4},
            "evaluation": {"untouched": False},
        }
        return recipe_for(sections.pop("manifest", manifest), **{**defaults, **sections})

    return make


def test_a_run_leaves_every_class_at_the_mean_of_the_source_s_view_of_its_companions(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = create_backbone("mobilefacenet_slim").eval()
    weights = tmp_path / "source.pth"
    torch.save(source.state_dict(), weights)
    recipe = make(source={"weights": str(weights), "recalibrate_batchnorm": True})
    train(recipe, tmp_path / "run")
    head = load_file(tmp_path / "run" / "head.safetensors")["weight"]
    (kept,) = (tmp_path / "run").glob("companions-*.safetensors")
    # Two VIS pictures of each of three people, in the manifest's order.
    views = load_state(kept)["embeddings"].view(3, 2, -1)
    assert torch.allclose(F.normalize(head), F.normalize(views.sum(dim=1)), atol=1e-5)
    trained = load_file(tmp_path / "run" / "model.safetensors")
    assert not torch.equal(trained["linear.weight"], source.state_dict()["linear.weight"])


def test_a_class_without_a_companion_is_an_error_before_the_run(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    rows = [row for row in manifest.read_text().splitlines() if not row.startswith("vis/p1/")]
    fewer = manifest.parent / "fewer.csv"
    fewer.write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match="1 of 3 classes have none, the first is p1; match by"):
        train(make(manifest=fewer), tmp_path / "run")
    with pytest.raises(InputError, match=r"expected companions of the training images with head.start .* add \[comp"):
        train(make(companions=None), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_frozen_head_cannot_start_at_random(make: Callable[..., Any], tmp_path: Path) -> None:
    recipe = make(head={"start": "random"}, companions=None)
    with pytest.raises(InputError, match=r"with class_means, which does not train the head, got \"random\""):
        train(recipe, tmp_path / "run")
