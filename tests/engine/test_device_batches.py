"""Batches on the device: the same images in the same order, augmented there, and the same again after a stop."""

import pytest
import torch
from lightning.fabric import Fabric
from safetensors.torch import load_file
from small_faces import write_small_set

from facexfer.backbones import create_backbone
from facexfer.engine.batches import TrainingBatches
from facexfer.engine.device_batches import DeviceBatches, make_batches
from facexfer.engine.loop import Training
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.recipe import parse_recipe
from facexfer.runs.folder import RunFolder
from facexfer.tasks.face import face_task


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_small_set(tmp_path_factory.mktemp("faces"), train=3, val=2, images=4)


def recipe_for(manifest, augmentation="nir", augment="device", **sections):
    values = {
        "source": {"backbone": "mobilefacenet_slim"},
        "data": {"manifest": str(manifest), "augmentation": augmentation},
        "head": {"scale": 16.0, "margin": 0.1},
        "method": {"name": "l2"},
        "optimizer": {"iterations": 4, "batch_size": 4},
        "evaluation": {"fars": [0.1], "untouched": False},
        "runtime": {"accelerator": "cpu", "checkpoint_seconds": 0, "log_every_steps": 1, "augment": augment},
    }
    return parse_recipe({**values, **sections}, "test")


def batches_of(recipe):
    mixture = face_task(recipe, create_backbone("mobilefacenet_slim").info).mixture
    return make_batches(recipe, mixture, Fabric(accelerator="cpu", devices=1))


def test_images_labels_and_order_are_those_of_the_workers(manifest):
    both = [batches_of(recipe_for(manifest, "none", augment)) for augment in ("device", "workers")]
    assert [type(each) for each in both] == [DeviceBatches, TrainingBatches]
    ours, theirs = (list(each.between(1, 7)) for each in both)
    assert len(ours) == len(theirs) == 6
    for parts, others in zip(ours, theirs, strict=True):
        for part, other in zip(parts, others, strict=True):
            assert all(torch.equal(one, two) for one, two in zip(part, other, strict=True))


def test_companions_in_a_batch_have_their_own_preset(manifest):
    companions = {"modality": "vis", "match": "capture", "keep": 0.5}
    batches = batches_of(recipe_for(manifest, "none", companions=companions, method={"name": "csd"}))
    (plain,), (again,) = next(iter(batches.between(0, 1))), next(iter(batches.between(0, 1)))
    images, labels, places = plain
    assert images.shape == (4, 3, 112, 112)
    assert (labels == -1).sum() == 2
    assert torch.equal(labels == -1, places >= 12)
    assert torch.equal(images, again[0])


def test_a_resumed_run_equals_one_that_was_never_stopped(manifest, tmp_path, monkeypatch):
    recipe = recipe_for(manifest)
    train(recipe, tmp_path / "whole", resume=False)
    log = Training._log

    def stop(self, window):
        log(self, window)
        if self.step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_log", stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run", resume=False)
    train(recipe, tmp_path / "run", resume=True)
    whole, resumed = (load_file(RunFolder(tmp_path / name).model_file) for name in ("whole", "run"))
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_a_preset_that_only_workers_have_is_an_error_before_the_run(manifest, tmp_path):
    with pytest.raises(InputError, match="unknown augmentation on the device 'nir-dark'"):
        train(recipe_for(manifest, "nir-dark"), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()
