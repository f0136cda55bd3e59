from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facexfer.data.companions import bytes_fingerprint, match_companions
from facexfer.data.manifest import FaceImage, Manifest
from facexfer.errors import InputError
from facexfer.files.digest import files_digest


def face(path: Path | str, identity: str, modality: str, capture: str | None = None) -> FaceImage:
    return FaceImage(Path(path), identity, modality, "train", capture=capture)


NIR = Manifest(Path("m.csv"), (face("n0", "a", "nir", "a/0"), face("n1", "a", "nir", "a/1"), face("n2", "b", "nir")))


def test_pictures_of_one_shot() -> None:
    vis = Manifest(Path("m.csv"), (face("v1", "a", "vis", "a/1"), face("v9", "c", "vis", "c/9")))
    images, of_image = match_companions(NIR, vis, by_capture=True)
    assert [image.path.name for image in images] == ["v1"]
    assert of_image == ((), (0,), ())


def test_pictures_of_one_person() -> None:
    vis = Manifest(Path("m.csv"), (face("v0", "b", "vis"), face("v1", "a", "vis"), face("v2", "a", "vis")))
    images, of_image = match_companions(NIR, vis, by_capture=False)
    assert [image.path.name for image in images] == ["v0", "v1", "v2"]
    assert of_image == ((1, 2), (1, 2), (0,))


def test_an_image_is_no_companion_of_itself_by_its_shot() -> None:
    with pytest.raises(InputError, match="shares a capture with them"):
        match_companions(NIR, NIR, by_capture=True)


@pytest.mark.parametrize("by_capture", [True, False])
def test_a_training_image_may_accompany_another(by_capture: bool) -> None:
    vis = (face("v0", "a", "vis", "a/0"), face("v1", "b", "vis", "b/0"), face("v2", "c", "vis", "c/0"))
    nir = (face("n0", "a", "nir", "a/0"), face("n1", "b", "nir", "b/0"))
    both = Manifest(Path("m.csv"), (*nir, *vis))
    images, of_image = match_companions(both, Manifest(Path("m.csv"), vis), by_capture)
    # The last would be its own companion only.
    assert images == vis[:2]
    assert of_image == ((0,), (1,), (), (), ())


def test_a_picture_of_a_person_accompanies_the_others_and_not_itself() -> None:
    assert match_companions(NIR, NIR, by_capture=False) == (NIR.images[:2], ((1,), (0,), ()))


def test_no_companion_at_all_says_what_the_data_allow() -> None:
    same_people = Manifest(Path("m.csv"), (face("v0", "a", "vis", "x"),))
    with pytest.raises(InputError, match=r'companions.match = "identity" would do'):
        match_companions(NIR, same_people, by_capture=True)
    others = Manifest(Path("m.csv"), (face("v0", "z", "vis", "x"),))
    with pytest.raises(InputError, match=r"name photos of any people in \[pool\]"):
        match_companions(NIR, others, by_capture=False)


def test_the_fingerprint_is_of_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"one")
    first = bytes_fingerprint([face(file, "a", "vis")])
    file.write_bytes(b"two")
    assert bytes_fingerprint([face(file, "a", "vis")]) != first
    with pytest.raises(InputError, match="expected a readable image"):
        bytes_fingerprint([face(tmp_path / "b.jpg", "a", "vis")])


def test_the_fingerprint_is_of_how_deep_pictures_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [face(tmp_path / f"{top}.png", "a", "nir") for top in (255, 1023, 4095)]
    for image, top, depth in zip(images, (255, 1023, 4095), (np.uint8, np.uint16, np.uint16), strict=True):
        assert cv2.imwrite(str(image.path), np.linspace(0, top, 400).astype(depth).reshape(20, 20))
    # Of 8 bits the bytes tell all.
    assert bytes_fingerprint(images[:1]) == bytes_fingerprint([replace(images[0], camera="x")])
    assert bytes_fingerprint(images[:1] * 2) == files_digest([images[0].path] * 2)
    first = bytes_fingerprint(images)
    assert bytes_fingerprint([replace(image, camera=image.path.stem) for image in images]) != first
    assert bytes_fingerprint(images) == first
    monkeypatch.setattr("facexfer.data.companions.READER", "another")
    assert bytes_fingerprint(images) != first


def test_shots_that_are_numbered_by_person_are_matched_within_the_person() -> None:
    nir = Manifest(
        Path("m.csv"), (face("n0", "a", "nir", "0"), face("n1", "b", "nir", "0"), face("n2", "?", "nir", "9"))
    )
    vis = Manifest(
        Path("m.csv"), (face("v0", "b", "vis", "0"), face("v1", "a", "vis", "0"), face("v2", "c", "vis", "9"))
    )
    images, of_image = match_companions(nir, vis, by_capture=True)
    assert [image.path.name for image in images] == ["v0", "v1", "v2"]
    # A shot that is named once is matched, whoever it claims to show.
    assert of_image == ((1,), (0,), (2,))


def test_shots_that_every_camera_numbers_by_itself_are_matched_within_the_person() -> None:
    nir = Manifest(
        Path("m.csv"), (face("n0", "a", "nir", "0"), face("n1", "b", "nir", "1"), face("n2", "b", "nir", "2"))
    )
    vis = Manifest(
        Path("m.csv"), (face("v0", "b", "vis", "0"), face("v1", "a", "vis", "1"), face("v2", "b", "vis", "2"))
    )
    images, of_image = match_companions(nir, vis, by_capture=True)
    # Not the first of one person and the first of the other.
    assert [image.path.name for image in images] == ["v2"]
    assert of_image == ((), (), (0,))
