"""Runs of classifiers: what classifies where no label is read, and when such a run has failed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from facexfer.engine.step import TrainedStep
from facexfer.engine.train import train
from facexfer.errors import DivergedError, InputError
from facexfer.heads import class_means
from facexfer.networks.embedding import embed_dataset
from facexfer.recipe import parse_recipe
from facexfer.runs.folder import RunFolder, load_backbone
from facexfer.tasks.image import image_task

ROOT = Path(__file__).resolve().parents[2]
SOURCE = {"weights": str(ROOT / "facexfer" / "recipes" / "demo-source.safetensors")}


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes that any network tells apart: a folder per class of one coloured pattern with noise."""
    folder, generator = tmp_path_factory.mktemp("patterns"), np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        pattern = generator.integers(0, 256, (5, 5, 3))
        for part in ("train", "val"):
            (folder / part / name).mkdir(parents=True)
            for index in range(6):
                noisy = np.clip(pattern + generator.integers(-25, 25, pattern.shape), 0, 255).astype(np.uint8)
                picture = cv2.resize(noisy, (112, 112), interpolation=cv2.INTER_CUBIC)
                cv2.imwrite(str(folder / part / name / f"{index}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def classifier(patterns: Path) -> Callable[..., Any]:
    defaults: dict[str, dict[str, Any]] = {
        "source": {"backbone": "mobilefacenet_slim", **SOURCE},
        "data": {"dataset": "folders", "root": str(patterns)},
        "method": {"name": "l2"},
        "optimizer": {"iterations": 2, "batch_size": 8, "learning_rate": 1e-4},
        "runtime": {"accelerator": "cpu", "log_every_steps": 1},
    }

    def make(**sections: Any) -> Any:
        names = {**defaults, **sections}
        values = {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in names}
        return parse_recipe({"task": "image", **values}, "test")

    return make


LABEL_FREE: list[dict[str, Any]] = [
    {
        "method": {"name": "csd", "map_weight": 0.0},
        "companions": {"match": "simulated"},
        "optimizer": {"learning_rate": 1e-3},
    },
    {
        "method": {"name": "adabn"},
        "source": {"recalibrate_batchnorm": True},
        "optimizer": {"iterations": None, "epochs": 0},
    },
]


@pytest.mark.slow
@pytest.mark.parametrize("sections", LABEL_FREE, ids=["csd", "adabn"])
def test_without_labels_a_classifier_is_the_class_means_of_what_was_trained(
    classifier: Callable[..., Any], sections: dict[str, Any], tmp_path: Path
) -> None:
    recipe, run = classifier(**sections), RunFolder(tmp_path / "run")
    result = train(recipe, run.path)
    assert result["failure"] is None
    assert result["figures"]["top1"] > 0.9
    network = load_backbone(run.path)
    images = image_task(recipe, network.info).plain_training_set
    means = class_means(embed_dataset(network, images), torch.tensor(images.labels), 4)
    weights = load_file(run.path / "head.safetensors")["weight"]
    torch.testing.assert_close(F.normalize(weights), F.normalize(means), rtol=0, atol=1e-5)


@pytest.mark.parametrize("sections", LABEL_FREE, ids=["csd", "adabn"])
def test_a_head_that_nothing_trains_does_not_start_at_random(
    classifier: Callable[..., Any], sections: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r'expected head.start = "companions" or "class_means" with .* got "random"'):
        train(classifier(**sections, head={"start": "random"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("sections", [{}, LABEL_FREE[0]], ids=["l2", "csd"])
def test_a_classifier_that_collapses_to_chance_fails(
    classifier: Callable[..., Any], sections: dict[str, Any], tmp_path: Path
) -> None:
    """Its test loss is no more than its training loss was at the start, which has a margin."""

    def break_at_the_end(step: TrainedStep) -> None:
        if step.number == 2:
            torch.nn.init.zeros_([each for each in step.backbone.parameters() if each.dim() >= 2][-1])

    message = r"mean_class is (0|25)\.00 %, no better than chance, far below the \d+\.\d\d % of the network that"
    with pytest.raises(DivergedError, match=message):
        train(classifier(**sections), tmp_path / "run", on_step=break_at_the_end)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["random", "class_means"])
def test_a_classifier_that_has_not_learnt_yet_has_not_failed(
    classifier: Callable[..., Any], start: str, tmp_path: Path
) -> None:
    recipe = classifier(head={"start": start}, optimizer={"learning_rate": 1e-9, "frozen_batchnorm": True})
    assert train(recipe, tmp_path / "run")["failure"] is None
