"""What a recipe sets and its run would not read is refused before training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_faces import write_small_set
from small_pictures import write_pictures

from facexfer.backbones import create_backbone
from facexfer.engine.source import make_source
from facexfer.engine.train import check_recipe, train
from facexfer.engine.unread import check_all_is_read, warn_of_unread
from facexfer.errors import InputError
from facexfer.recipe import Recipe, parse_recipe
from facexfer.tasks import TASKS

LAYERS = create_backbone("mobilefacenet_slim").info.layers(4)[:1]
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


@pytest.mark.parametrize(
    "method",
    [
        {"name": "l2_sp"},
        {"name": "lwf", "old_task": "training_set"},
        CSD,
        {"name": "dsbn", "weight": 1.0},
        {"name": "class_means"},
    ],
    ids=lambda method: method["name"],
)
def test_layers_that_no_term_compares(refused: Callable[..., None], method: dict[str, Any]) -> None:
    message = f"expected a method that compares layers for method.layers, got {method['name']}; leave it out"
    companions = {"match": "capture"} if method["name"] in ("csd", "dsbn") else None
    refused(message, method={**method, "layers": LAYERS}, companions=companions)


def test_a_number_of_layers_with_other_ones_named(refused: Callable[..., None]) -> None:
    refused("expected either method.layers or method.taps, got 1 layers and taps = 8, which would do nothing",
            method={"name": "dfa", "layers": LAYERS, "taps": 8})  # fmt: skip


@pytest.fixture
def warned(recipe_for: Callable[..., Recipe], tmp_path: Path) -> Callable[..., list[str]]:
    manifest = write_small_set(tmp_path / "faces", train=2, val=2, images=4)

    def warned(**sections: Any) -> list[str]:
        recipe = recipe_for(manifest, **{"source": {"backbone": "mobilefacenet_slim"}, **sections})
        source, stages = make_source(recipe.source), check_recipe(recipe)
        task = TASKS["face"](recipe, source.info)
        check_all_is_read(recipe, task, stages, source)
        return warn_of_unread(recipe, task, stages, source, ranks=1)

    return warned


def test_settings_of_steps_where_none_is_taken(warned: Callable[..., list[str]]) -> None:
    sections: dict[str, Any] = {"source": {"recalibrate_batchnorm": True}, "method": {"name": "adabn"}}
    idle = {"batch_size": 64, "learning_rate": 0.5, "clip_norm": 1.0, "average_decay": 0.9}
    (said,) = warned(**sections, optimizer={"iterations": None, "epochs": 0, **idle})
    assert said == (
        "adabn takes no steps, so that optimizer.learning_rate and optimizer.clip_norm and optimizer.average_decay "
        "change nothing"
    )
    assert warned(**sections, optimizer={"iterations": None, "epochs": 0, "batch_size": 64}) == []


def test_one_rank_has_nothing_to_synchronise(warned: Callable[..., list[str]]) -> None:
    (said,) = warned(method={"name": "l2"}, optimizer={"sync_batchnorm": True})
    assert said == "optimizer.sync_batchnorm joins the batches of several ranks; with one it changes nothing"


def test_a_source_that_is_compared_with_itself(warned: Callable[..., list[str]]) -> None:
    itself: dict[str, Any] = {"companions": {"match": "simulated"}, "data": {"modality": "vis", "augmentation": "flip"}}
    shown = {"match": "simulated", "shown_to_source": True}
    for sections in ({"method": CSD}, {"method": {"name": "dfa"}, "companions": shown}):
        (said,) = warned(**{**itself, **sections})
        assert said.startswith('every image is its own companion, and data.augmentation = "flip" shows it as that is')
    learns: list[dict[str, Any]] = [
        {"method": CSD, "data": {"modality": "vis", "augmentation": "vis-to-nir"}},
        {"method": CSD, "companions": {"match": "capture"}, "data": {"modality": "nir"}},
        {"method": {**CSD, "identity_weight": 1.0}},
    ]
    assert [warned(**{**itself, **sections}) for sections in learns] == [[], [], []]


def test_test_losses_of_what_reads_the_sources_own_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A grid asks all of its methods for them."""
    images = {"dataset": "folders", "root": str(write_pictures(tmp_path / "images"))}
    values = {
        "task": "image", "source": {"backbone": "mobilenet_v2", "input_size": 32}, "data": images,
        "source_data": images, "head": {"name": "linear"}, "method": {"name": "soft_ft", "old_task": "source_set"},
        "evaluation": {"test_loss": True, "untouched": False},
        "optimizer": {"iterations": 1, "batch_size": 4, "learning_rate": 1e-6, "frozen_batchnorm": True},
        "runtime": {"accelerator": "cpu"},
    }  # fmt: skip
    train(parse_recipe(values, "test"), tmp_path / "run")
    said = " ".join(capsys.readouterr().out.split())
    assert "warning: soft_ft has no losses on test images, with which no images of the source's own come" in said


@pytest.fixture
def pool(tmp_path: Path) -> dict[str, Any]:
    manifest = write_small_set(tmp_path / "pool", train=2, val=0, images=4, modalities=("vis",))
    return {"manifest": str(manifest), "split": "train", "share": 1.0}


def test_training_images_that_nothing_reads(refused: Callable[..., None], pool: dict[str, Any]) -> None:
    """Measured on the batches, BatchNorm of the source sees the pool alone."""
    message = r"expected optimizer.final_batchnorm = true where every batch holds only pool \(vis-to-nir\), got"
    refused(message, method=CSD, pool=pool, source={"recalibrate_batchnorm": True})
    shares = {"match": "capture", "keep": 0.5, "share": 0.5}
    refused(r"holds only companions \(vis-to-nir\) and companions \(flip\), got false", method=CSD, companions=shares)


def test_a_classification_without_labels(refused: Callable[..., None], pool: dict[str, Any]) -> None:
    message = "expected labelled images in every batch for the classification of csd, got only pool"
    refused(message, method={**CSD, "identity_weight": 1.0}, pool=pool, optimizer={"final_batchnorm": True})


def test_training_images_give_statistics_where_there_are_some(
    warned: Callable[..., list[str]], pool: dict[str, Any]
) -> None:
    assert warned(method=CSD, pool=pool, optimizer={"final_batchnorm": True}) == []
    source = {"backbone": "edgeface_xxs"}
    (said,) = warned(method=CSD, pool=pool, source=source, optimizer={"name": "adamw", "learning_rate": 1e-4})
    assert said == (
        "every batch holds only pool (vis-to-nir), and edgeface_xxs has no BatchNorm to measure on the training "
        "images, so that nothing is learnt from them"
    )


def test_test_losses_of_what_reads_companions(tmp_path: Path) -> None:
    values = {
        "task": "image", "source": {"backbone": "mobilenet_v2", "input_size": 32},
        "data": {"dataset": "folders", "root": str(write_pictures(tmp_path / "images"))}, "head": {"name": "linear"},
        "companions": {"match": "simulated"}, "method": CSD, "evaluation": {"test_loss": True},
        "optimizer": {"iterations": 1, "batch_size": 4}, "runtime": {"accelerator": "cpu"},
    }  # fmt: skip
    with pytest.raises(InputError, match="expected a method without companions for evaluation.test_loss, got csd"):
        train(parse_recipe(values, "test"), tmp_path / "run")
