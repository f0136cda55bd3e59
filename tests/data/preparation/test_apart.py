"""Splits that a set brings: who is trained on is not measured on, and neither is a photo that is listed twice."""

import csv
from pathlib import Path

import pytest
from photo_files import encoded, picture

from facexfer.data.manifest import read_manifest
from facexfer.data.preparation.photo_set import PreparedFolder, prepare
from facexfer.errors import InputError


def prepared(root: Path, *rows: str) -> PreparedFolder:
    """Prepare a manifest of rows of a photo's name, identity and split."""
    lines = []
    for row in rows:
        name, identity, split = row.split()
        photo = root / "set" / f"{name}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(encoded(picture(sum(name.encode()), (112, 112))))
        lines.append(f"{photo.name},{identity},nir,{split}\n")
    (root / "set" / "images.csv").write_text("".join(["path,identity,modality,split\n", *lines]))
    return prepare(root / "set", root / "out", layout="manifest", pre_cropped=True)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("1 a train", "2 a val"), r"expected nobody in two splits, got 'a' in train \(1\.png\) and in val \(2\.png\)"),
        (
            ("1 a test", "2 a train", "3 b train", "4 b probe"),
            r"'a' in train \(2\.png\) and in test \(1\.png\); so is 1 more \(identity\); nobody who is trained on may",
        ),
        (("1 a train", "1 b val"), r"expected every photo in one split, got 1\.png in train and in val; list it once"),
    ],
)
def test_who_is_trained_on_is_not_measured_on(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(tmp_path, *rows)
    assert not (tmp_path / "out").exists()


def test_splits_that_nobody_is_trained_on_may_share_people(tmp_path: Path) -> None:
    rows = ("1 a gallery", "2 a probe", "3 b train", "4 b unused", "5 b pool", "1 a gallery")
    assert prepared(tmp_path, *rows).summary["crops"] == 5


def test_lists_of_a_set_are_checked(tmp_path: Path) -> None:
    for number, name in enumerate(["00001/001", "00001/002", "00002/001"]):
        photo = tmp_path / "set" / "s1" / "NIR" / f"{name}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(encoded(picture(number, (112, 112))))
    (tmp_path / "set" / "nir_train_1.txt").write_text("s1\\NIR\\00001\\001.png\n")
    (tmp_path / "set" / "nir_probe_1.txt").write_text("s1\\NIR\\00002\\001.png\ns1\\NIR\\00001\\002.png\n")
    with pytest.raises(InputError, match="expected nobody in two splits, got '00001' in train"):
        prepare(tmp_path / "set", tmp_path / "out", layout="casia-nir-vis2", pre_cropped=True)


def test_a_photo_under_two_identities_is_reported_and_keeps_the_name_of_its_crop(tmp_path: Path) -> None:
    made = prepared(tmp_path, "1 a val", "2 b val", "1 b val", "2 b val")
    assert made.summary["pictures_under_several_identities"] == [
        {"identities": ("a", "b"), "photos": ("1.png", "1.png#2")}
    ]
    with (made.path / "duplicates.csv").open() as file:
        assert [list(row.values()) for row in csv.DictReader(file)] == [["same-bytes", "a|b", "1.png|1.png#2"]]
    with made.failures_file.open() as file:
        found = {row["path"]: row["detail"] for row in csv.DictReader(file)}
    assert found == {"1.png#2": "1.png is listed before as a photo of 'a'", "2.png#2": "2.png is listed before"}
    names = [image.path.name for image in read_manifest(made.manifest_file).images]
    assert names == ["1.png", "2.png"]
