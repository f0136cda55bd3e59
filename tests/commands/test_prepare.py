"""The prepare command: what a person sees, and what the evaluation reads of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from photo_files import encoded, picture, write_photos
from PIL import Image
from shared_data import shared
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.data.failures import read_failures
from facexfer.data.images import read_rgb
from facexfer.data.manifest import read_manifest
from facexfer.errors import InputError, RunError


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["prepare", *map(str, words)])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_crops_of_photos_that_were_taken_away_are_counted(tmp_path: Path) -> None:
    table = write_photos(tmp_path / "set", people=3, photos=2)
    words = (tmp_path / "set", "--layout", "folders", "--landmarks", table, "--out", tmp_path / "out")
    assert "not there any more" not in run(*words)
    shutil.rmtree(tmp_path / "set" / "p1")
    rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join(row for row in rows if not row.startswith("p1/")))
    assert "of photos that are not there any more: 2 crops, such as crops/p1/0.png; they stay until you" in run(*words)
    left = json.loads((tmp_path / "out" / "summary.json").read_text())["crops_without_photo"]
    assert left == ["crops/p1/0.png", "crops/p1/1.png"]
    for crop in left:
        (tmp_path / "out" / crop).unlink()
    assert "not there any more" not in run(*words)


def test_one_command_from_photos_to_a_split_set(tmp_path: Path) -> None:
    table = write_photos(tmp_path / "set", people=5, photos=3)
    (tmp_path / "set/p1/2.png").write_bytes(b"broken")
    (tmp_path / "set/p2/0.png").write_bytes((tmp_path / "set/p3/0.png").read_bytes())
    (tmp_path / "set/notes.txt").write_text("who is who")
    out = tmp_path / "out"
    words = [
        tmp_path / "set",
        "--layout",
        "folders",
        "--landmarks",
        table,
        "--out",
        out,
        "--protocol",
        "identity-disjoint",
    ]
    shown = run(*words)
    assert "14 crops of 15 photos, 5 identities, 0 without any crop" in shown
    assert "failed: 1 not-an-image" in shown
    assert "without some crops: p1 (2 crops of 3 photos)\n" in shown
    assert "one picture under p2 and p3: p2/0.png, p3/0.png" in shown
    assert "not looked at, by suffix: {'.txt': 1}" in shown
    summary = json.loads((out / "summary.json").read_text())
    (held_out,) = summary["split"]["val"]
    assert (summary["settings"]["detector"], summary["settings"]["min_eye_distance"]) == (None, 8.0)
    images = read_manifest(out / "images.csv")
    assert {image.split == "val" for image in images.images if image.identity == held_out} == {True}
    assert {image.split for image in images.images} == {"train", "val"}
    (failure,) = read_failures(out / "failures.csv")
    assert (failure.identity, failure.split, failure.reason) == (
        "p1",
        "val" if held_out == "p1" else "train",
        "not-an-image",
    )
    assert read_rgb(out / "contact-sheet.png").shape[1] == 12 * 116
    before = (out / "images.csv").read_bytes()
    run(*words)
    assert (out / "images.csv").read_bytes() == before


def test_bad_input_is_one_clear_line(tmp_path: Path) -> None:
    table = write_photos(tmp_path / "set", 1, 1)
    common = [tmp_path / "set", "--out", tmp_path / "out", "--layout", "folders"]
    with pytest.raises(InputError, match="unknown layout 'folder'; did you mean 'folders'"):
        run(tmp_path / "set", "--out", tmp_path / "out", "--layout", "folder")
    with pytest.raises(InputError, match="expected --size 112x112 or 112x96"):
        run(*common, "--size", "96x112")
    with pytest.raises(InputError, match="expected a name after --modality, got nothing"):
        run(*common, "--modality", " ")
    with pytest.raises(InputError, match="unknown choice 'big'"):
        run(*common, "--choose", "big")
    with pytest.raises(InputError, match="expected --pre-cropped alone"):
        run(*common, "--pre-cropped", "--landmarks", table)
    with pytest.raises(InputError, match="expected --pre-cropped alone, got --choose and --min-score"):
        run(*common, "--pre-cropped", "--choose", "largest", "--min-score", "0.5")
    with pytest.raises(InputError, match="expected a detector"):
        run(*common)
    with pytest.raises(InputError, match=r"none\.onnx: expected a detector's ONNX file, found none"):
        run(*common, "--detector", tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(InputError, match=r"text\.onnx: expected"):
        run(*common, "--detector", tmp_path / "text.onnx")
    with pytest.raises(InputError, match="expected the 335 identities of PolyU-NIRFD, got 1"):
        run(*common, "--protocol", "polyu-nirfd")
    with pytest.raises(InputError, match="expected a folder outside of"):
        run(tmp_path / "set", "--out", tmp_path / "set" / "out", "--layout", "folders")
    with pytest.raises(InputError, match="none: expected a folder of photos or the file of a set"):
        run(tmp_path / "none", "--out", tmp_path / "out", "--layout", "folders")
    assert not (tmp_path / "out").exists()


def test_no_crop_at_all_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "1.png").write_bytes(encoded(picture()))
    with pytest.raises(RunError, match="expected at least one crop, got none of 1 photos"):
        run(tmp_path / "set", "--out", tmp_path / "out", "--layout", "folders", "--pre-cropped")
    assert len(read_failures(tmp_path / "out" / "failures.csv")) == 1


def test_a_folder_without_any_crop_can_be_continued(tmp_path: Path) -> None:
    photo = tmp_path / "set" / "a" / "1.png"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(encoded(picture()))
    words = [tmp_path / "set", "--out", tmp_path / "out", "--layout", "folders", "--pre-cropped"]
    for _ in range(2):
        with pytest.raises(RunError, match="expected at least one crop"):
            run(*words)
    photo.write_bytes(encoded(picture(size=(112, 112))))
    assert "1 crops of 1 photos" in run(*words)


def test_people_who_stay_where_they_were_are_counted(tmp_path: Path) -> None:
    table = write_photos(tmp_path / "set", people=5, photos=1)
    words = [tmp_path / "set", "--out", tmp_path / "out", "--layout", "folders", "--landmarks", table]
    words += ["--protocol", "identity-disjoint"]
    assert "a new draw" not in run(*words)
    before = {image.identity: image.split for image in read_manifest(tmp_path / "out" / "images.csv").images}
    write_photos(tmp_path / "set", people=9, photos=1)
    # One of the five leaves val in the draw of nine, and another would come in.
    assert "2 identities stay in the split of an earlier run; a new draw would move them" in run(*words)
    after = {image.identity: image.split for image in read_manifest(tmp_path / "out" / "images.csv").images}
    assert after | before == after
    with pytest.raises(InputError, match="expected the split that is there, identity-disjoint-0, got identity-disj"):
        run(*words, "--draw", "3")


def test_a_loose_photo_is_nobody(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "loose.png"):
        photo = tmp_path / "set" / name
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(encoded(picture(ord(name[0]), size=(112, 112))))
    words = [tmp_path / "set", "--out", tmp_path / "out", "--layout", "folders", "--pre-cropped"]
    shown = run(*words, "--protocol", "identity-disjoint")
    assert "2 crops of 3 photos, 2 identities, 0 without any crop" in shown
    assert "failed: 1 no-identity" in shown
    assert "without some crops" not in shown
    assert "{'train': 1, 'val': 1}" in shown
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["identities"], summary["identities_without_crop"]) == (2, [])
    assert summary["per_identity"]["(unknown)"] == {"photos": 1, "crops": 0}


def test_columns_of_a_manifest_come_along(tmp_path: Path) -> None:
    table = tmp_path / "set" / "mine.csv"
    table.parent.mkdir()
    for number in range(2):
        (table.parent / f"{number}.png").write_bytes(encoded(picture(number, size=(112, 112))))
    rows = [
        "path,identity,modality,split,glasses,photo,score",
        "0.png,a,nir,train,yes,mine,0.5",
        "1.png,b,nir,val,no,,",
    ]
    table.write_text("\n".join(rows) + "\n")
    run(table, "--layout", "manifest", "--pre-cropped", "--out", tmp_path / "out")
    images = read_manifest(tmp_path / "out" / "images.csv").images
    # A column that the command has itself is its own.
    assert [[image.extra[name] for name in ("glasses", "photo", "score")] for image in images] == [
        ["yes", "0.png", ""],
        ["no", "1.png", ""],
    ]


def test_a_published_set_of_pairs(tmp_path: Path) -> None:
    source = shared("data/insightface_small_lfw.bin")
    shown = run(source, "--layout", "insightface-bin", "--pre-cropped", "--modality", "vis", "--out", tmp_path / "out")
    # Its identities are pairs: one photo in two of them is no mistake.
    assert "duplicates: 3 groups of same-bytes" in shown
    assert "one picture under" not in shown
    assert len(read_manifest(tmp_path / "out" / "images.csv").images) == 20
    assert (tmp_path / "out" / "pairs.csv").read_text().splitlines()[:2] == [
        "first,second,same,fold", "crops/000000-1.png,crops/000000-2.png,1,0",
    ]  # fmt: skip


def test_a_detector_finds_hard_pictures_at_a_second_look(tmp_path: Path) -> None:
    photo = np.asarray(Image.open(shared("data/raw-photos/img1.jpg")).convert("L"))
    (tmp_path / "set" / "a").mkdir(parents=True)
    deep = np.clip(photo.astype(np.uint16) * 3 + 100, 0, 1023)
    Image.fromarray(deep).save(tmp_path / "set" / "a" / "ten-bits.png")
    detector = shared("detectors/yunet_n_320_320.onnx")
    shown = run(tmp_path / "set", "--layout", "folders", "--detector", detector, "--out", tmp_path / "out")
    assert "1 photo has more than 8 bits per channel; it was read as 10-bit\n" in shown
    (image,) = read_manifest(tmp_path / "out" / "images.csv").images
    assert float(image.extra["score"]) > 0.6
    assert image.landmarks is not None


def test_photos_of_many_bits_and_people_without_some_crops_are_counted(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number, (person, largest) in enumerate([("a", 4095), ("a", 4095), ("b", 65535), ("b", 0), ("nobody", 0)]):
        (tmp_path / "set" / person).mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, largest + 1, (112, 112)).astype(np.uint16)
        photo = tmp_path / "set" / person / f"{number}.png"
        photo.write_bytes(encoded(Image.fromarray(pixels)) if largest else b"")
    words = [tmp_path / "set", "--layout", "folders", "--pre-cropped", "--out"]
    shown = run(*words, tmp_path / "out")
    assert "without some crops: b (1 crop of 2 photos), nobody (0 of 1)\n" in shown
    assert "3 photos have more than 8 bits per channel; they were read 2 as 12-bit, 1 as 16-bit; not all " in shown
    shutil.rmtree(tmp_path / "set" / "b")
    assert "2 photos have more than 8 bits per channel; they were read as 12-bit\n" in run(*words, tmp_path / "twice")


def test_pictures_under_several_names_are_counted_where_not_all_are_shown(tmp_path: Path) -> None:
    for person in ("a", "b"):
        (tmp_path / "set" / person).mkdir(parents=True)
        for number in range(10):
            photo = tmp_path / "set" / person / f"{number}.png"
            photo.write_bytes(encoded(picture(number, size=(112, 112))))
    shown = run(tmp_path / "set", "--layout", "folders", "--pre-cropped", "--out", tmp_path / "out")
    assert shown.count("one picture under a and b: ") == 8
    assert "and 2 more pictures under several identities in duplicates.csv\n" in shown


def test_a_link_to_a_folder_is_listed_and_is_no_photo(tmp_path: Path) -> None:
    photo = tmp_path / "set" / "a" / "1" / "1.png"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(encoded(picture(size=(112, 112))))
    (tmp_path / "set" / "a" / "same").symlink_to(photo.parent)
    shown = run(tmp_path / "set", "--layout", "folders", "--pre-cropped", "--out", tmp_path / "out")
    assert "1 crops of 1 photos" in shown
    assert "failed: 1 link-to-folder" in shown
    assert "without some crops" not in shown
    assert read_failures(tmp_path / "out" / "failures.csv") == ()
    assert "a/same" in (tmp_path / "out" / "failures.csv").read_text()


def test_what_could_not_be_verified_is_said(tmp_path: Path) -> None:
    table = write_photos(tmp_path / "set", 2, 1)
    common = [tmp_path / "set", "--landmarks", table]
    assert "note: the published naming of PolyU-NIRFD could not be verified" in run(
        *common, "--layout", "polyu-nirfd", "--out", tmp_path / "a"
    )
    assert "note:" not in run(*common, "--layout", "folders", "--out", tmp_path / "b")
