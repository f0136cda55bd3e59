"""What a recipe sets and its run would not read is refused before training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_faces import write_small_set
from small_pictures import write_pictures

from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.recipe import Recipe, parse_recipe

CSD = {"name": "csd", "map_weight": 0.0}


@pytest.fixture(scope="module")
def refused(recipe_for: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    folder = tmp_path_factory.mktemp("faces")
    manifest = write_small_set(folder, train=2, val=2, images=4)

    def refused(message: str, **sections: Any) -> None:
        with pytest.raises(InputError, match=message):
            train(recipe_for(manifest, **{"source": {"backbone": "mobilefacenet_slim"}, **sections}), folder / "run")
        assert not (folder / "run").exists()

    return refused


def test_source_images_that_no_method_reads(refused: Callable[..., None]) -> None:
    message = r"expected a method that reads the source's own images with \[source_data\], got l2; take soft_ft, or"
    refused(message, method={"name": "l2"}, source_data={"modality": "vis"})


@pytest.mark.parametrize(
    ("section", "part"),
    [
        ({"companions": {"modality": "vis", "keep": 0.05}}, r"0.05 of 8 images for companions \(flip\)"),
        ({"companions": {"modality": "vis", "share": 0.05}}, r"0.05 of 8 images for companions \(vis-to-nir\)"),
        ({"companions": {"match": "simulated", "keep": 0.05}}, r"0.05 of 8 images for companions \(flip\)"),
        ({"companions": {"modality": "vis", "keep": 0.95}}, r"0.05 of 8 images for training"),
    ],
)
def test_a_part_of_the_batch_that_is_no_image(refused: Callable[..., None], section: Any, part: str) -> None:
    message = rf"expected a part of the batch that is at least one image, got {part}; the smallest is 0.125, take that"
    refused(message, method=CSD, optimizer={"iterations": 1, "batch_size": 8}, **section)


def test_settings_of_a_measurement_that_frozen_statistics_leave_out(refused: Callable[..., None]) -> None:
    optimizer = {"iterations": 1, "batch_size": 8, "frozen_batchnorm": True, "source_share": 0.3}
    message = "expected optimizer.final_batchnorm = true with source.variance_floor, got false: with .*frozen_batchnorm"
    source = {"backbone": "mobilefacenet_slim", "variance_floor": 0.5}
    refused(message, method={"name": "l2"}, source=source, optimizer=optimizer)
    of_both = {"data": {"modality": ["nir", "vis"]}, "optimizer": {**optimizer, "final_keep": 0.25}}
    refused("true with optimizer.final_keep, got false", method={"name": "l2"}, **of_both)


def test_test_losses_of_what_reads_companions(tmp_path: Path) -> None:
    values = {
        "task": "image", "source": {"backbone": "mobilenet_v2", "input_size": 32},
        "data": {"dataset": "folders", "root": str(write_pictures(tmp_path / "images"))}, "head": {"name": "linear"},
        "companions": {"match": "simulated"}, "method": CSD, "evaluation": {"test_loss": True},
        "optimizer": {"iterations": 1, "batch_size": 4}, "runtime": {"accelerator": "cpu"},
    }  # fmt: skip
    with pytest.raises(InputError, match="expected a method without companions for evaluation.test_loss, got csd"):
        train(parse_recipe(values, "test"), tmp_path / "run")
