"""Photos become crops for `match` and enrolment as in `prepare`: same suffixes, same second looks, same reasons."""

import io
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from photo_files import damaged, encoded, every_form, picture
from PIL import Image
from shared_data import shared
from small_faces import write_small_set
from typer.testing import CliRunner

from facexfer.backbones import create_backbone
from facexfer.cli import app
from facexfer.data.images import read_rgb
from facexfer.deploy.contract import CONTRACT, DETECTOR, MODEL
from facexfer.deploy.matching import Matcher, list_people
from facexfer.deploy.onnx_export import export_onnx
from facexfer.errors import InputError, RunError
from facexfer.files.digest import file_digest


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a random network: how photos become crops does not hang on its weights."""
    folder = tmp_path_factory.mktemp("bundle")
    export_onnx(create_backbone("mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"), folder / MODEL, opset=17)
    point = {"far": 0.1, "threshold": 0.5, "tar": 1.0, "supported": True}
    contract = {"operating_point": {"far": 0.1, "threshold": 0.5}, "evaluation": {"operating_points": [point]}}
    (folder / CONTRACT).write_text(json.dumps(contract))
    return folder


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    write_small_set(tmp_path / "faces", train=3, val=0, images=2, modalities=("nir",))
    return tmp_path / "faces" / "nir"


def match(*words: Path | str) -> list[str]:
    result = CliRunner().invoke(app, ["match", *map(str, words)])
    if isinstance(result.exception, (InputError, RunError)):
        raise result.exception
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout.splitlines()


@pytest.mark.parametrize("suffix", [".TIF", ".ppm", ".pbm", ".gif", ".jpe", ".PNG"])
def test_people_of_every_suffix_that_prepare_reads_are_enrolled(bundle: Path, faces: Path, suffix: str) -> None:
    photo = faces / "p1" / "0.png"
    image = Image.open(photo)
    form = {".tif": "TIFF", ".ppm": "PPM", ".pbm": "PPM", ".gif": "GIF", ".jpe": "JPEG"}.get(suffix.lower(), "PNG")
    for number in range(2):
        (faces / "p1" / f"{number}.png").unlink()
    (faces / "p1" / f"a{suffix}").write_bytes(encoded(image.convert("P") if form == "GIF" else image, form))
    lines = match("--bundle", bundle, "--enrol", faces, "--identify", faces / "p1" / f"a{suffix}")
    assert lines[0] == "enrolled 3 people from 5 of 5 photos: p0 (2), p1 (1), p2 (2)"
    assert lines[-1].endswith(": p1")


def test_what_cannot_be_enrolled_is_listed_and_ends_nothing(bundle: Path, faces: Path, tmp_path: Path) -> None:
    probe = tmp_path / "probe.png"
    probe.write_bytes((faces / "p2" / "0.png").read_bytes())
    (faces / "p0" / "1.png").write_bytes(b"no picture")
    for number in range(2):
        (faces / "p1" / f"{number}.png").write_bytes(encoded(picture()))
    (faces / "p2" / "deeper").mkdir()
    (faces / "p2" / "1.png").rename(faces / "p2" / "deeper" / "1.png")
    (faces / "p2" / "notes.txt").write_text("")
    (faces / "p2" / "Thumbs.db").write_text("")
    (faces / "p2" / ".hidden.png").write_bytes(b"")
    (faces / ".thumbnails").mkdir()
    (faces / ".thumbnails" / "a.png").write_bytes(b"")
    (faces / "p3").mkdir()
    (faces / "stray.png").write_bytes(encoded(picture()))
    (faces / "p4").symlink_to(tmp_path)
    lines = match("--bundle", bundle, "--enrol", faces, "--identify", probe)
    assert lines[:2] == [
        "enrolled 2 of 5 people from 3 of 6 photos: p0 (1 of 2), p2 (2)",
        "not enrolled: p1 (0 of 2), p3 (no photo), p4 (no photo)",
    ]
    assert [line.split(": ")[1:3] for line in lines[2:-2]] == [
        ["p0/1.png", "not-an-image"],
        ["p1/0.png", "wrong-size"],
        ["p1/1.png", "wrong-size"],
        ["p4", "link-to-folder"],
        ["stray.png", "no-identity"],
    ]
    assert lines[-2] == "not looked at, by suffix: .db 1, .png 1, .txt 1"
    assert lines[-1].endswith(": p2")


def test_a_person_whose_name_is_no_name_is_one_person(bundle: Path, faces: Path, tmp_path: Path) -> None:
    """Bytes that are no UTF-8, a line break, nothing that can be seen: people and their photos have one spelling."""
    probe = tmp_path / "probe.png"
    probe.write_bytes((faces / "p2" / "0.png").read_bytes())
    os.rename(faces / "p0", os.fsencode(faces) + b"/p\xff")
    (faces / "p1").rename(faces / "p\n1")
    (faces / "\u200b").mkdir()
    lines = match("--bundle", bundle, "--enrol", faces, "--identify", probe)
    assert lines[:2] == [
        "enrolled 1 of 4 people from 2 of 6 photos: p2 (2)",
        r"not enrolled: \u200b (no photo), p\n1 (0 of 2), p\xff (0 of 2)",
    ]


def test_nobody_to_enrol_is_an_error(bundle: Path, faces: Path, tmp_path: Path) -> None:
    probe = faces / "p2" / "0.png"
    for name in ("p0", "p1"):
        for photo in (faces / name).iterdir():
            photo.write_bytes(b"")
    people = tmp_path / "people"
    people.mkdir()
    words = ("--bundle", bundle, "--enrol", people, "--identify", probe)
    with pytest.raises(InputError, match="expected a subfolder of photos for each person, found none"):
        match(*words)
    (faces / "p0").rename(people / "p0")
    with pytest.raises(
        InputError, match=r"one usable photo to enrol, all 2 failed: p0/0\.png: empty-file: 0 bytes; p0"
    ):
        match(*words)
    for photo in (people / "p0").iterdir():
        photo.rename(photo.with_suffix(".heic"))
    with pytest.raises(InputError, match=r"expected pictures, found none among other files \(2 \.heic\)"):
        match(*words)
    with pytest.raises(InputError, match="expected a subfolder of photos"):
        match("--bundle", bundle, "--enrol", probe, "--identify", probe)


def test_photos_of_more_than_8_bits_match_as_those_of_8(bundle: Path, faces: Path, tmp_path: Path) -> None:
    first, second = faces / "p0" / "0.png", faces / "p1" / "0.png"
    deep = []
    for number, photo in enumerate((first, second)):
        grey = cv2.cvtColor(read_rgb(photo), cv2.COLOR_RGB2GRAY)
        cv2.imwrite(str(photo), grey)
        deep.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(deep[-1]), (grey.astype(np.uint32) * 1023 // 255).astype(np.uint16))
    score = [float(match(*pair, "--bundle", bundle)[-1].split()[1].rstrip(",")) for pair in ((first, second), deep)]
    assert score[0] == pytest.approx(score[1], abs=0.002)
    assert Matcher(bundle, None).depths_of(deep, []).text == "pictures: 2 deep pictures are read as 10-bit"
    assert "2 deep pictures are read as 10-bit" in CliRunner().invoke(
        app, ["match", *map(str, deep), "--bundle", str(bundle)]
    ).output  # fmt: skip


def grown(bundle: Path, folder: Path, **content: object) -> Path:
    """A copy of the bundle that says more of itself."""
    shutil.copytree(bundle, folder)
    said = json.loads((folder / CONTRACT).read_text())
    (folder / CONTRACT).write_text(json.dumps(said | content))
    return folder


@pytest.mark.parametrize(("gallery", "alike"), [("vis", False), ("nir", True), (None, True)])
def test_two_cameras_of_different_depth_are_read_apart_across_modalities_only(
    bundle: Path, faces: Path, tmp_path: Path, gallery: str | None, alike: bool
) -> None:
    of_both = grown(bundle, tmp_path / "b", pairs={"gallery": gallery, "probe": "nir"})
    people = tmp_path / "people"
    known, seen, flat = people / "p0" / "14.png", tmp_path / "12.png", []
    known.parent.mkdir(parents=True)
    for number, (photo, bits) in enumerate(((known, 14), (seen, 12))):
        grey = cv2.cvtColor(read_rgb(faces / f"p{number}" / "0.png"), cv2.COLOR_RGB2GRAY)
        flat.append(tmp_path / f"{bits}-as-8.png")
        cv2.imwrite(str(flat[-1]), grey)
        cv2.imwrite(str(photo), (grey.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16))

    def score(*words: Path | str) -> float:
        return float(match("--bundle", of_both, *words)[-1].split()[1].rstrip(","))

    expected = score(*flat)
    for got in (score(known, seen), score("--enrol", people, "--identify", seen)):
        assert (abs(got - expected) < 0.002) is not alike
    text = Matcher(of_both, None).depths_of([known], [seen]).text
    if alike:
        assert text == "pictures: 2 deep pictures are read as 14-bit (1 of them use 12 only)"
    else:
        assert text == "nir: 1 deep pictures are read as 12-bit; vis: 1 deep pictures are read as 14-bit"


def test_a_network_that_is_not_the_measured_one_decides_nothing(bundle: Path, faces: Path, tmp_path: Path) -> None:
    photo = faces / "p0" / "0.png"
    sound = grown(bundle, tmp_path / "a", sha256=file_digest(bundle / MODEL), detector=DETECTOR)
    # A detector or a runtime's file that is not used here may be missing.
    assert match(photo, photo, "--bundle", sound)[-1].endswith("the same person")
    other = grown(sound, tmp_path / "b", sha256="0" * 64)
    with pytest.raises(RunError, match=r"model\.onnx: expected the file that was measured, its SHA-256 differs"):
        Matcher(other, None)
    with pytest.raises(InputError, match=r"expected a bundle with detector\.onnx, found none; copy it again"):
        Matcher(sound, str(sound / DETECTOR))
    shutil.copyfile(shared("detectors/yunet_n_dynamic.onnx"), sound / DETECTOR)
    Matcher(sound, str(sound / DETECTOR))
    manifest = sound / "manifest.json"
    manifest.write_text(json.dumps({"tasks": {"detection": {"sha256": file_digest(sound / DETECTOR)}}}))
    Matcher(sound, str(sound / DETECTOR))
    manifest.write_text(json.dumps({"tasks": {"detection": {"sha256": "0" * 64}}}))
    with pytest.raises(RunError, match=r"detector\.onnx: expected the file that was measured"):
        Matcher(sound, str(sound / DETECTOR))
    manifest.write_text("{}")
    with pytest.raises(
        InputError, match=r"manifest\.json: expected InsightFace's manifest with a detector, got: 'task"
    ):
        Matcher(sound, str(sound / DETECTOR))


def test_a_face_that_prepare_finds_at_a_second_look_is_found(bundle: Path, faces: Path) -> None:
    from facexfer.data.preparation.detect import Face

    class OfPadded:
        """Finds a face only where there is something around it."""

        name = "of padded"

        def detect(self, image):
            if (image[0, 0] != 127).any():
                return []
            points = np.array([(80.0, 90), (140, 90), (110, 130), (85, 160), (135, 160)])
            return [Face((60.0, 60, 160, 190), points, 0.9)]

    matcher = Matcher(bundle, None)
    matcher._detector = OfPadded()
    matcher._options = type(matcher._options)()
    assert matcher.embed(faces / "p0" / "0.png").shape == (32,)
    assert len(matcher.enrol(list_people(faces), faces).people) == 3


def test_match_finds_every_face_that_prepare_finds(bundle: Path, tmp_path: Path) -> None:
    detector = shared("detectors/yunet_n_dynamic.onnx")
    photo = read_rgb(shared("data/raw-photos/img1.jpg"))
    matcher = Matcher(bundle, str(detector))
    (tmp_path / "set" / "a").mkdir(parents=True)
    path = tmp_path / "set" / "a" / "photo.tif"
    path.write_bytes(encoded(Image.fromarray(photo), "TIFF"))
    result = CliRunner().invoke(
        app, ["prepare", str(tmp_path / "set"), "--layout", "folders", "--detector", str(detector), "--out",
              str(tmp_path / "out")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    want = Matcher(bundle, None).embed(tmp_path / "out" / "crops" / "a" / "photo.png")
    np.testing.assert_allclose(matcher.embed(path), want, atol=1e-6)


def test_a_photo_in_memory_is_the_photo_in_the_file(bundle: Path, faces: Path) -> None:
    photo = faces / "p0" / "0.png"
    matcher = Matcher(bundle, None, threads=1)
    np.testing.assert_allclose(matcher.embed(photo.read_bytes()), Matcher(bundle, None).embed(photo), atol=1e-5)
    with pytest.raises(InputError, match="^photo: expected an aligned crop, got empty-file"):
        matcher.embed(b"")


def test_any_damaged_photo_is_matched_or_one_clear_line(bundle: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    forms = every_form(seed=5)
    square = {name: encoded(Image.open(io.BytesIO(data)).convert("RGB").resize((112, 112)))
              for name, data in list(forms.items())[:2]}  # fmt: skip
    good = tmp_path / "good.png"
    good.write_bytes(next(iter(square.values())))
    outcomes = set()
    for name, data in (forms | square).items():
        for number in range(3):
            photo = tmp_path / f"{number}-{name}"
            photo.write_bytes(damaged(data, generator))
            try:
                outcomes.add(match(photo, good, "--bundle", bundle)[-1].split()[0])
            except InputError as error:
                outcomes.add(
                    "error" if str(error).startswith(f"{photo}: expected an aligned crop, got ") else str(error)
                )
    assert outcomes <= {"score", "error"}


def test_no_photo_is_one_clear_line(bundle: Path, faces: Path, tmp_path: Path) -> None:
    good = faces / "p0" / "0.png"
    for name, message in (
        ("none.png", "unreadable-file: No such file"),
        ("p0", "not-a-file"),
    ):
        with pytest.raises(InputError, match=message):
            match(good, faces / name, "--bundle", bundle)
