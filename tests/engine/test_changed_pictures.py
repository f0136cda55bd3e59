"""What a run is trained and measured on: other pictures under the same names, in both splits, or listed again."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from small_faces import write_small_set

from facexfer.data.manifest import read_manifest
from facexfer.engine.train import train
from facexfer.errors import DataWarning, InputError
from facexfer.measure.embedder import load
from facexfer.measure.pair_sets import verify
from facexfer.runs.folder import RunFolder


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_small_set(tmp_path / "faces")


@pytest.fixture
def make(recipe_for: Callable[..., Any], manifest: Path) -> Callable[..., Any]:
    return lambda: recipe_for(manifest, method={"name": "l2"}, optimizer={"iterations": 1, "batch_size": 4})


def rewrite(manifest: Path, change: Callable[..., Any]) -> None:
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = change(rows)
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_run_whose_pictures_have_changed_is_not_resumed(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    result = train(make(), run.path)
    assert json.loads(run.data_file.read_text()) == result["data"]
    assert train(make(), run.path, resume=True) == result
    picture = manifest.parent / "nir/p0/0.png"
    cv2.imwrite(str(picture), 255 - cv2.imread(str(picture)))
    with pytest.raises(InputError, match="started with, training changed since; put them back"):
        train(make(), run.path, resume=True)
    # A run from before there was such a file goes on.
    run.data_file.unlink()
    assert train(make(), run.path, resume=True) == result
    run.data_file.write_text("[")
    with pytest.raises(InputError, match=r"data.json: expected fingerprints"):
        train(make(), run.path, resume=True)


def test_a_picture_in_both_splits_is_refused(make: Callable[..., Any], manifest: Path, tmp_path: Path) -> None:
    shutil.copyfile(manifest.parent / "nir/p0/0.png", manifest.parent / "vis/p5/0.png")
    with pytest.raises(InputError, match="disjoint pictures in training and validation, 1 are in both, such as 0.png"):
        train(make(), tmp_path / "run")


def test_a_picture_listed_again_counts_once_as_in_an_evaluation(
    make: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    once = train(make(), tmp_path / "once")["figures"]
    rewrite(manifest, lambda rows: rows + [row for row in rows if row["split"] == "val"])
    with pytest.warns(DataWarning, match="of 24 images are pictures listed before"):
        assert train(make(), tmp_path / "twice")["figures"] == once
    images = read_manifest(manifest).select(split="val")
    with pytest.warns(DataWarning, match="pictures listed before"):
        (point,) = verify(load(tmp_path / "once"), images, [0.1], "nir", None)
    assert point.tar == pytest.approx(once["nir/tar@0.1"])
    rewrite(manifest, lambda rows: [*rows[:56], {**rows[0], "path": f"./{rows[0]['path']}"}])
    with pytest.warns(DataWarning, match="1 of 17 training images are pictures listed before; they are trained on"):
        train(make(), tmp_path / "more")


def test_companions_that_belong_to_other_pictures_now_are_no_run_to_resume(
    recipe_for: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    recipe = recipe_for(
        manifest,
        data={"modality": "nir", "augmentation": "nir"},
        companions={"match": "capture"},
        method={"name": "csd"},
        optimizer={"iterations": 1},
        evaluation={"pairs": [{"probe": "nir"}]},
    )
    train(recipe, tmp_path / "run")
    other = {"p0/0": "p0/1", "p0/1": "p0/0"}

    def swapped(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [
            {**row, "capture": other.get(row["capture"], row["capture"])} if row["modality"] == "vis" else row
            for row in rows
        ]

    rewrite(manifest, swapped)
    with pytest.raises(InputError, match="which companions belong to an image changed since"):
        train(recipe, tmp_path / "run", resume=True)


def test_pairs_that_nobody_can_form_are_an_error_before_training(
    recipe_for: Callable[..., Any], manifest: Path, tmp_path: Path
) -> None:
    rewrite(manifest, lambda rows: [row for row in rows if row["modality"] == "nir" or row["path"].endswith("/0.png")])
    evaluation = {"pairs": [{"probe": "nir"}, {"probe": "vis"}], "untouched": False}
    recipe = recipe_for(manifest, data={"modality": "nir"}, method={"name": "l2"}, evaluation=evaluation)
    with pytest.raises(InputError, match="evaluation.pairs, vis: expected at least one genuine pair, got none"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
