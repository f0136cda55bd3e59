"""The ways' settings are those of the committed recipes, and every one of them can be trained as it is written."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_faces import write_small_set

import facexfer
from facexfer.advice.measured import first_of_each_set, read_measured
from facexfer.advice.situation import read_situation
from facexfer.advice.source import Source
from facexfer.advice.ways import WAYS, Way
from facexfer.advice.written import recipe_values
from facexfer.backbones import create_backbone
from facexfer.data.manifest import FaceImage, read_manifest, write_manifest
from facexfer.engine.schedule import split_steps
from facexfer.errors import InputError
from facexfer.recipe import parse_recipe, read_recipe
from facexfer.tasks import TASKS
from facexfer.transfer.methods import create

NETWORK = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"
PATHS = {"backbone", "weights", "manifest", "modality", "split"}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_settings_are_those_of_the_committed_recipe(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", "/nowhere")
    recipe = read_recipe(way.recipes[0])
    committed = recipe.model_dump(exclude_unset=True)
    ours = {name: {key: value for key, value in section.items() if key not in PATHS}
            for name, section in committed.items() if isinstance(section, dict)}  # fmt: skip
    ours.pop("evaluation")
    assert ours["optimizer"].pop("epochs") == way.epochs
    assert {name: section for name, section in ours.items() if section} == way.sections


def face_set(folder: Path, change):
    """Write a small set, and change its rows."""
    manifest = write_small_set(folder, train=6, val=4, images=3)
    write_manifest(manifest, [row for image in read_manifest(manifest).images if (row := change(image))])
    return manifest


def with_(image, **changes: Any):
    """Copy a row with other values."""
    known = {name: getattr(image, name) for name in ("path", "identity", "modality", "split", "capture")}
    return FaceImage(**{**known, **changes})


def is_(image, modality, people):
    return image.modality == modality and image.identity in {f"p{number}" for number in people}


HELD_OUT = range(6, 10)
SITUATIONS = {
    "CSD, same shots": lambda image: image,
    "CSD, same shots and photos of others": lambda image: (
        image if image.split == "val" or not is_(image, "nir", (2, 3, 4, 5))
        else None
    ),
    "CSD, same people": lambda image: with_(image, capture=None),
    "CSD, same people and photos of others": lambda image: (
        with_(image, capture=None) if image.split == "val" or not is_(image, "nir", (2, 3, 4, 5)) else None
    ),
    "CSD, labelled pictures and photos of others": lambda image: (
        image if image.split == "val" or is_(image, "nir", (0, 1, 2)) or is_(image, "vis", (3, 4, 5)) else None
    ),
    "CSD, unlabelled pictures and photos of others": lambda image: (
        image if image.split == "val" or is_(image, "vis", (3, 4, 5))
        else with_(image, identity=image.path.parent.name + image.path.stem, capture=None)
        if is_(image, "nir", (0, 1, 2)) else None
    ),
    "plain fine-tuning": lambda image: image if image.modality == "nir" else None,
    "BatchNorm statistics alone": lambda image: (
        None if image.modality == "vis" else image if image.split == "val"
        else with_(image, identity=image.path.parent.name + image.path.stem, capture=None)
    ),
    "CSD, visible-light photos alone": lambda image: image if image.modality == "vis" else None,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("expected", SITUATIONS)
def test_a_written_recipe_is_trained_as_it_is(expected, tmp_path: Path) -> None:
    manifest = face_set(tmp_path, SITUATIONS[expected])
    torch.manual_seed(0)
    torch.save(create_backbone(NETWORK).state_dict(), tmp_path / "source.pt")
    advice = facexfer.advise(manifest, tmp_path / "source.pt", backbone=NETWORK, out=tmp_path / "recipe.toml")
    assert advice.possible[0].name == expected
    assert expected not in advice.missing
    recipe = read_recipe(tmp_path / "recipe.toml", ["runtime.accelerator=cpu"])
    assert advice.recipe == read_recipe(tmp_path / "recipe.toml")
    values = recipe.model_dump(exclude_unset=True)
    if recipe.method.name != "adabn":
        # Hardly a step: the network is a guess, which training may fall below.
        del values["optimizer"]["epochs"]
        values["optimizer"] |= {"iterations": 2, "learning_rate": 1e-9}
    values["evaluation"]["untouched"] = False
    result = facexfer.train(parse_recipe(values, "test"), tmp_path / "run")
    assert len(result["figures"]) == len(recipe.evaluation.pairs) * len(recipe.evaluation.fars)


def test_both_spectra_are_trained_on_together_where_that_is_asked_for(tmp_path: Path) -> None:
    there = read_situation(write_small_set(tmp_path), (112, 112))
    (joint,) = [way for way in WAYS if way.name == "plain fine-tuning on both spectra"]
    source = Source("weights.pt", create_backbone(NETWORK).info, 0, False, True)
    assert joint.missing(there, source) == ""
    assert recipe_values(joint, there, source, None)["data"]["modality"] == ["nir", "vis"]


def test_a_run_on_both_spectra_has_the_measured_steps(tmp_path: Path) -> None:
    there = read_situation(write_small_set(tmp_path), (112, 112))
    (joint,) = [way for way in WAYS if way.spectra == 2]
    source = Source("weights.pt", create_backbone(NETWORK).info, 0, False, True)
    measured = first_of_each_set(read_measured(), joint.recipes)[0]
    values = recipe_values(joint, there, source, measured)
    recipe = parse_recipe({**values, "source": {"backbone": NETWORK}}, "test")
    task = TASKS["face"](recipe, source.info)
    settings = recipe.optimizer
    assert (len(task.training_set), settings.batch_size) == (32, 32)
    assert split_steps(settings, create("l2"), len(task.training_set) // settings.batch_size) == [measured.steps]


def test_a_network_without_batchnorm_gets_another_optimizer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(create_backbone("edgeface_xxs").state_dict(), tmp_path / "source.pt")
    manifest = face_set(tmp_path, SITUATIONS["CSD, unlabelled pictures and photos of others"])
    advice = facexfer.advise(manifest, tmp_path / "source.pt", out=tmp_path / "recipe.toml")
    assert advice.possible[0].name == "CSD, visible-light photos alone"
    assert advice.missing["CSD, unlabelled pictures and photos of others"] == (
        "the source has no BatchNorm, and unlabelled pictures only give its statistics"
    )
    assert (advice.recipe.companions, advice.recipe.data.modality, advice.recipe.data.augmentation) == (
        None, "nir", "flip",
    )  # fmt: skip
    assert (advice.recipe.pool.share, advice.recipe.pool.keep) == (0.8125, 0.1875)
    assert advice.missing["BatchNorm statistics alone"] == advice.methods["adabn"] == "the source has no BatchNorm"
    optimizer = advice.recipe.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.schedule) == ("adamw", 1e-4, "cosine")
    assert not optimizer.final_batchnorm
    assert not advice.recipe.source.recalibrate_batchnorm
    alone = face_set(tmp_path / "alone", SITUATIONS["BatchNorm statistics alone"])
    with pytest.raises(
        InputError, match="expected labelled pictures, or photos in 'vis', since edgeface_xxs has no Batch"
    ):
        facexfer.advise(alone, tmp_path / "source.pt")


@pytest.mark.slow
def test_photos_alone_train_a_network_without_batchnorm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    torch.save(create_backbone("edgeface_xxs").state_dict(), tmp_path / "source.pt")
    manifest = face_set(tmp_path, SITUATIONS["CSD, unlabelled pictures and photos of others"])
    values = facexfer.advise(manifest, tmp_path / "source.pt").recipe.model_dump(exclude_unset=True)
    del values["optimizer"]["epochs"]
    values["optimizer"] |= {"iterations": 1, "learning_rate": 1e-9}
    values["evaluation"]["untouched"] = False
    values["runtime"] = {"accelerator": "cpu"}
    assert facexfer.train(parse_recipe(values, "test"), tmp_path / "run")["steps"] == 1
    assert "so that nothing is learnt from them" in " ".join(capsys.readouterr().out.split())


def test_photos_of_others_join_visible_light_alone_and_some_stay_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(create_backbone(NETWORK).state_dict(), tmp_path / "source.pt")
    manifest = face_set(tmp_path, lambda image: image if image.modality == "vis" else None)
    images = read_manifest(manifest).images
    strangers = {"p3", "p4", "p5"}
    others = manifest.parent / "others.csv"
    write_manifest(others, [with_(image, split="pool") for image in images if image.identity in strangers])
    write_manifest(manifest, [image for image in images if image.identity not in strangers])
    alone = facexfer.advise(manifest, tmp_path / "source.pt", backbone=NETWORK)
    assert alone.recipe.pool is None
    assert (alone.recipe.companions.match, alone.recipe.companions.keep) == ("simulated", 0.1875)
    more = facexfer.advise(manifest, tmp_path / "source.pt", backbone=NETWORK, visible_manifest=others)
    assert (more.recipe.pool.manifest, more.recipe.pool.split) == (others, "pool")
    assert (more.recipe.pool.share, more.recipe.pool.keep, more.recipe.companions.keep) == (0.5, 0.1875, 0)


def test_labels_alone_train_a_network_without_batchnorm_gently(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(create_backbone("edgeface_xxs").state_dict(), tmp_path / "source.pt")
    manifest = face_set(tmp_path, SITUATIONS["plain fine-tuning"])
    advice = facexfer.advise(manifest, tmp_path / "source.pt")
    assert advice.possible[0].name == "plain fine-tuning"
    assert (advice.recipe.optimizer.name, advice.recipe.optimizer.learning_rate) == ("adamw", 3e-5)
