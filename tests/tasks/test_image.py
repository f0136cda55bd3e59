"""Image classification through the same training loop."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from shared_data import shared
from small_pictures import write_pictures

from facexfer.backbones import create_backbone
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.heads import ArcFaceHead, class_means
from facexfer.networks.batchnorm import revive_on
from facexfer.networks.embedding import embed_dataset
from facexfer.recipe import Recipe, parse_recipe
from facexfer.runs.folder import RunFolder, load_backbone
from facexfer.tasks.image import image_task


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


def image_recipe(root: Path, **sections: Any) -> Recipe:
    values = {
        "task": "image",
        "source": {"backbone": "mobilenet_v2", "input_size": 32},
        "data": {"dataset": "folders", "root": str(root)},
        "head": {"name": "linear", "start": "random"},
        "method": {"name": "afa"},
        "optimizer": {"iterations": 2, "batch_size": 4},
        "evaluation": {"untouched": False},
        "runtime": {"accelerator": "cpu", "log_every_steps": 1},
    }
    return parse_recipe({**values, **sections}, "test")


@pytest.mark.slow
def test_a_run_gives_accuracies_and_a_network_that_loads_at_its_size(root: Path, tmp_path: Path) -> None:
    train(image_recipe(root, method={"name": "afa"}), tmp_path / "run", resume=False)
    result = json.loads(RunFolder(tmp_path / "run").result_file.read_text())
    assert set(result["figures"]) == {"top1", "top5", "mean_class", "test/classification"}
    assert set(result["details"]["per_class"]) == {"ants", "bees"}
    assert len(result["details"]["right"]) == 4
    assert result["details"]["right"].count("1") == 4 * result["figures"]["top1"]
    assert load_backbone(tmp_path / "run").info.input_size == (32, 32)


def test_accuracy_is_without_the_margin_of_training(root: Path) -> None:
    network = create_backbone("mobilenet_v2", input_size=(32, 32)).eval()
    task = image_task(image_recipe(root), network.info)
    embeddings = embed_dataset(network, task.plain_training_set)
    figures = []
    for margin in (0.0, 1.5):
        head = ArcFaceHead(embeddings.shape[1], 2, margin=margin)
        head.start_from_class_means(class_means(embeddings, torch.tensor(task.training_set.labels), 2))
        figures.append(task.evaluate(network, head, ()))
    assert figures[0] == pytest.approx(figures[1], rel=1e-4)


def test_what_is_missing_in_the_recipe_is_said(root: Path) -> None:
    info = create_backbone("mobilenet_v2", input_size=(32, 32)).info
    with pytest.raises(InputError, match=r"expected data.dataset and data.root in an image recipe"):
        image_task(image_recipe(root, data={"dataset": "folders"}), info)
    with pytest.raises(InputError, match="unknown data set 'folder'; did you mean 'folders'"):
        image_task(image_recipe(root, data={"dataset": "folder", "root": str(root)}), info)


def test_a_test_image_that_is_a_training_image_too_is_said(tmp_path: Path) -> None:
    root = write_pictures(tmp_path)
    info = create_backbone("mobilenet_v2", input_size=(32, 32)).info
    task = image_task(image_recipe(root), info)
    assert task.notes == ()
    training, test = (next((root / part).rglob("*.*")) for part in ("train", "val"))
    test.with_name(f"copy{training.suffix}").write_bytes(training.read_bytes())
    assert image_task(image_recipe(root), info).notes == (
        "warning: 1 of 5 test images are training images too; they raise the accuracy",
    )


def test_dark_test_pictures_are_read_as_their_cameras_bright_ones(tmp_path: Path) -> None:
    # Alone, they are taken for 10 bits, and look four times as bright.
    for part, top in (("train", 4095), ("val", 1000)):
        for name in ("ants", "bees"):
            (tmp_path / part / name).mkdir(parents=True)
            ramp = np.linspace(0, top, 1600).astype(np.uint16).reshape(40, 40)
            cv2.imwrite(str(tmp_path / part / name / "0.png"), ramp)
    task = image_task(image_recipe(tmp_path), create_backbone("mobilenet_v2", input_size=(32, 32)).info)
    assert task.test_set is not None
    bright, dark = (images[0][0].float().mean().item() for images in (task.plain_training_set, task.test_set))
    assert bright / dark == pytest.approx(4.095, rel=0.05)


@pytest.mark.slow
def test_reviving_the_folded_network_leaves_its_embeddings(root: Path) -> None:
    weights = shared("weights/mobilenet_v2-imagenet-bnfolded-fp16.pth")
    network = create_backbone("mobilenet_v2_tf", weights, input_size=(64, 64)).eval()
    images = image_task(image_recipe(root), network.info).plain_training_set
    before = embed_dataset(network, images)
    assert len(network.folded) == 52
    revive_on(network, images)
    after = embed_dataset(network, images)
    assert torch.allclose(before, after, atol=1e-4 * before.abs().max().item())


def test_the_sources_own_images_are_measured_as_they_are(root: Path) -> None:
    recipe = image_recipe(root, source_data={"dataset": "folders", "root": str(root)})
    task = image_task(recipe, create_backbone("mobilenet_v2", input_size=(32, 32)).info)
    assert task.source_set is not None
    assert task.of_source is task.plain_source_set
    seen = []
    for epoch in range(4):
        task.source_set.set_epoch(epoch)
        task.of_source.set_epoch(epoch)
        seen.append((task.source_set[0][0], task.of_source[0][0]))
    assert all(torch.equal(plain, seen[0][1]) for _, plain in seen)
    assert not all(torch.equal(augmented, seen[0][0]) for augmented, _ in seen)


@pytest.mark.slow
def test_an_image_accompanies_itself(root: Path, tmp_path: Path) -> None:
    method = {"name": "csd", "weight": 5.0, "identity_weight": 1.0}
    with pytest.raises(InputError, match="got flip, which also moves them; take none, or set method.map_weight = 0"):
        train(image_recipe(root, method=method, companions={"match": "simulated"}), tmp_path / "moved", resume=False)
    method["map_weight"] = 0.0
    recipe = image_recipe(root, method=method, companions={"match": "simulated"})
    train(recipe, tmp_path / "run", resume=False)
    records = [json.loads(line) for line in RunFolder(tmp_path / "run").metrics_file.read_text().splitlines()]
    assert {"classification", "companion"} == set(next(record["losses"] for record in records if "losses" in record))
    info = create_backbone("mobilenet_v2", input_size=(32, 32)).info
    with pytest.raises(InputError, match=r'expected companions.match = "simulated" in an image recipe'):
        image_task(image_recipe(root, companions={"match": "capture"}), info)
