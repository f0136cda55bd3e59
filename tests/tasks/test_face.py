"""The real network on the real benchmark gives the baseline figures."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from shared_data import shared
from small_faces import write_small_set

from facexfer import create_backbone
from facexfer.data.images import read_crop
from facexfer.data.manifest import read_manifest
from facexfer.data.splits import limit_per_identity
from facexfer.eval.scores import all_pairs, gallery_probe_pairs
from facexfer.measure.embedder import embed_images, load
from facexfer.recipe import Recipe
from facexfer.tasks import TASKS

FARS = [1e-2, 1e-3, 1e-4]
BASELINE = {
    (None, "vis"): (99.2, 98.4, 96.0),
    (None, "nir"): (85.7, 65.0, 34.9),
    ("vis", "nir"): (91.7, 84.2, 73.8),
    (None, "nir-mild"): (98.2, 94.9, 88.4),
    ("vis", "nir-mild"): (98.6, 96.2, 92.0),
}


@pytest.fixture(scope="module")
def validation():
    return read_manifest(shared("data/lfw-nirsim/images.csv")).select(split="val")


@pytest.fixture(scope="module")
def embedded(validation):
    embedder = load(shared("weights/mobilefacenet-mxnet-y1/model-0000.params"), "mobilefacenet")
    selections = {modality: validation.select(modality=modality) for modality in ("vis", "nir", "nir-mild")}
    return {
        modality: (embed_images(embedder, [image.path for image in chosen.images]), chosen)
        for modality, chosen in selections.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(("gallery", "probe"), BASELINE)
def test_baseline_figures(embedded, gallery, probe) -> None:
    embeddings, chosen = embedded[probe]
    if gallery is None:
        points = all_pairs(embeddings, chosen.labels(), FARS)
        assert (points[0].genuine_pairs, points[0].impostor_pairs) == (10_104, 616_536)
    else:
        others, other = embedded[gallery]
        points = gallery_probe_pairs(
            others, other.labels(), embeddings, chosen.labels(), FARS, other.captures(), chosen.captures()
        )
        assert (points[0].genuine_pairs, points[0].impostor_pairs) == (20_208, 1_233_072)
    assert [100 * point.tar for point in points] == pytest.approx(BASELINE[gallery, probe], abs=0.2)


def test_limit_per_identity_is_the_same_in_any_order() -> None:
    training = read_manifest(shared("data/lfw-nirsim/images.csv")).select(split="train", modality="nir-mild")
    few = limit_per_identity(training, 5, seed=0)
    assert (len(few.images), len(few.identities)) == (1275, 255)
    assert np.bincount(few.labels()).tolist() == [5] * 255
    turned = type(training)(training.path, training.images[::-1])
    assert {image.path for image in limit_per_identity(turned, 5, seed=0).images} == {i.path for i in few.images}


def test_each_seed_draws_its_own_augmentation(recipe_for: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = recipe_for(write_small_set(tmp_path))
    info = create_backbone("mobilefacenet_slim").info
    sets = [TASKS["face"](recipe.model_copy(update={"seed": seed}), info).training_set for seed in (0, 0, 1)]
    first, again, other = ([each[place][0] for place in range(len(each))] for each in sets)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))


def test_deep_pictures_of_one_camera_are_read_alike_in_all_parts_of_a_run(
    recipe_for: Callable[..., Recipe], tmp_path: Path
) -> None:
    """Alone, dark pictures of a 12-bit camera are taken for 10 bits, and look four times as bright."""
    generator = np.random.default_rng(0)

    def write(name: str, identity: str, modality: str, split: str, top: int) -> str:
        pattern = generator.integers(0, top, (7, 7)).astype(np.uint16)
        cv2.imwrite(str(tmp_path / name), cv2.resize(pattern, (112, 112), interpolation=cv2.INTER_NEAREST))
        return f"{name},{identity},{modality},{split},cam\n"

    tops = {("nir", "train"): 4095, ("nir", "val"): 1000, ("vis", "train"): 1000, ("vis", "val"): 4095}
    rows = [
        write(f"{split}-{modality}-{number}.png", f"{split}{number // 2}", modality, split, top)
        for (modality, split), top in tops.items()
        for number in range(4)
    ]
    header = "path,identity,modality,split,camera\n"
    (tmp_path / "images.csv").write_text(header + "".join(rows))
    others = [write(f"pool-{number}.png", f"other{number}", "nir", "pool", 1000) for number in range(4)]
    (tmp_path / "pool.csv").write_text(header + "".join(others))
    recipe = recipe_for(
        tmp_path / "images.csv",
        data={"modality": "nir"},
        companions={"modality": "vis", "match": "identity"},
        pool={"manifest": str(tmp_path / "pool.csv"), "modality": "nir", "share": 0.2},
        evaluation={"fars": [0.5], "pairs": [{"probe": "nir"}]},
    )
    task = TASKS["face"](recipe, create_backbone("mobilefacenet_slim").info)
    assert task.test_set is not None
    assert task.companions is not None
    pool = task.more[-1].pictures
    assert pool is not None
    for images, name in (
        (task.plain_training_set, "train-nir"),
        (task.test_set, "val-nir"),
        (task.companions.pictures.images, "train-vis"),
        (pool.images, "pool"),
    ):
        want = read_crop(tmp_path / f"{name}-0.png", (112, 112), 12)
        np.testing.assert_array_equal(np.asarray(images[0][0]).transpose(1, 2, 0), want)
    assert task.notes == (f"bits per channel: {task.fingerprints['bits']}",)
    assert task.fingerprints["bits"].startswith("nir cam: 12 deep pictures are read as 12-bit")
    found = TASKS["face"].fingerprints(recipe)
    assert found == {name: value for name, value in task.fingerprints.items() if name != "bits"}
