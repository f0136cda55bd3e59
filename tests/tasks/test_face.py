"""The real network on the real benchmark gives the baseline figures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from shared_data import shared
from small_faces import write_small_set

from facexfer import create_backbone
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
