"""One picture listed twice: found by its pixels, kept once, said; under two names or in two splits, said or refused."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from facexfer.data.images import check_crops
from facexfer.data.manifest import FaceImage, Manifest
from facexfer.data.repeats import check_pictures_apart, distinct_images, hash_picture, say_contradictions
from facexfer.errors import DataWarning, InputError


def listed(tmp_path: Path, *rows) -> Manifest:
    images = tuple(FaceImage(tmp_path / path, who, modality, "val", capture=shot) for path, who, modality, shot in rows)
    return Manifest(tmp_path / "images.csv", images)


def test_a_picture_is_known_by_its_pixels(tmp_path: Path) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for name in ("a.png", "b.bmp"):
        cv2.imwrite(str(tmp_path / name), crop)
    (tmp_path / "link.png").symlink_to("a.png")
    rows = [(name, "p", "nir", None) for name in ("a.png", "./a.png", str(tmp_path / "a.png"), "link.png", "b.bmp")]
    pictures = check_crops(listed(tmp_path, *rows).images, (8, 8))
    assert len(set(pictures)) == 1
    assert pictures[0] == hash_picture(crop[:, :, ::-1])


def test_a_picture_of_a_person_counts_once_in_a_modality(tmp_path: Path) -> None:
    rows = [("1", "p", "nir", None), ("2", "p", "nir", None), ("1", "p", "nir", None), ("1", "p", "vis", None)]
    with pytest.warns(DataWarning, match="1 of 4 images are pictures .*, such as 1 of 'p'; each counts once"):
        distinct = distinct_images(listed(tmp_path, *rows), ["x", "y", "x", "x"])
    assert (distinct.kept, distinct.places, distinct.repeated) == ((0, 1, 3), (0, 1, 0, 2), 1)
    assert distinct.pictures == ("x", "y", "x")


def test_pairs_of_one_shot_in_one_modality_are_said(tmp_path: Path) -> None:
    rows = [("1", "p", "nir", "c"), ("2", "p", "nir", "c"), ("3", "p", "vis", "c"), ("4", "q", "nir", "c")]
    with pytest.warns(DataWarning, match="1 pairs of one person show one shot in one modality"):
        distinct = distinct_images(listed(tmp_path, *rows), list("abcd"))
    assert len(set(distinct.shots)) == 3


def test_one_picture_under_two_identities_is_said(tmp_path: Path) -> None:
    images = listed(tmp_path, ("1", "p", "nir", None), ("2", "q", "nir", None))
    with pytest.warns(DataWarning, match="1 pictures .* such as 1 of 'p' and 2 of 'q'; no pair"):
        assert distinct_images(images, ["x", "x"]).kept == (0, 1)
    many = listed(tmp_path, *((str(n), f"p{n}", "nir", None) for n in range(101)))
    with pytest.raises(InputError, match="one picture is under 101 identities, such as 0; are the crops blank"):
        say_contradictions(many, ["x"] * 101)


def test_no_picture_is_trained_and_measured_on(tmp_path: Path) -> None:
    training, validation = (listed(tmp_path, (name, name, "nir", None)) for name in "ab")
    check_pictures_apart(training, ["x"], validation, ["y"])
    with pytest.raises(InputError, match="disjoint pictures .*, 1 are in both, such as a of 'a', which is b of 'b'"):
        check_pictures_apart(training, ["x"], validation, ["x"])


def test_nothing_is_said_of_distinct_pictures(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distinct = distinct_images(listed(tmp_path, ("1", "p", "nir", "c"), ("2", "p", "nir", "d")), ["x", "y"])
    assert distinct.repeated == 0
