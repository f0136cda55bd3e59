"""Batches on the device: the same images in the same order, augmented there, and the same again after a stop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_faces import write_small_set

from facexfer.backbones import create_backbone
from facexfer.engine.batches import TrainingBatches
from facexfer.engine.device_batches import DeviceBatches, make_batches
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.recipe import Recipe
from facexfer.runtime import Fabric
from facexfer.tasks.face import face_task


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"), train=3, val=2, images=4)


@pytest.fixture(scope="module")
def make(manifest: Path, recipe_for: Callable[..., Any]) -> Callable[..., Any]:
    def make(augmentation: str = "nir", augment: str = "device", **sections: Any):
        defaults = {
            "data": {"augmentation": augmentation},
            "method": {"name": "l2"},
            "optimizer": {"batch_size": 4},
            "evaluation": {"untouched": False},
            "runtime": {"augment": augment},
        }
        return recipe_for(manifest, **{**defaults, **sections})

    return make


def batches_of(recipe: Recipe) -> DeviceBatches | TrainingBatches:
    mixture = face_task(recipe, create_backbone("mobilefacenet_slim").info).mixture
    return make_batches(recipe, mixture, Fabric(accelerator="cpu", devices=1))


def test_images_labels_and_order_are_those_of_the_workers(make: Callable[..., Any]) -> None:
    both = [batches_of(make("none", augment)) for augment in ("device", "workers")]
    assert [type(each) for each in both] == [DeviceBatches, TrainingBatches]
    ours, theirs = (list(each.between(1, 7)) for each in both)
    assert len(ours) == len(theirs) == 6
    for parts, others in zip(ours, theirs, strict=True):
        for part, other in zip(parts, others, strict=True):
            assert all(torch.equal(one, two) for one, two in zip(part, other, strict=True))


def test_companions_in_a_batch_have_their_own_preset(make: Callable[..., Any]) -> None:
    companions = {"modality": "vis", "match": "capture", "keep": 0.5}
    batches = batches_of(make("none", companions=companions, method={"name": "csd"}))
    (plain,), (again,) = next(iter(batches.between(0, 1))), next(iter(batches.between(0, 1)))
    images, labels, places, _ = plain
    assert images.shape == (4, 3, 112, 112)
    assert (labels == -1).sum() == 2
    assert torch.equal(labels == -1, places >= 12)
    assert torch.equal(images, again[0])


@pytest.mark.slow
def test_a_resumed_run_equals_one_that_was_never_stopped(
    assert_same_run: Callable[[Path, Path], None],
    stop_at: Callable[[int], Any],
    make: Callable[..., Any],
    tmp_path: Path,
) -> None:
    recipe = make()
    train(recipe, tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", on_step=stop_at(3))
    train(recipe, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_preset_that_only_workers_have_is_an_error_before_the_run(make: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown augmentation on the device 'nir-dark'"):
        train(make("nir-dark"), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()
