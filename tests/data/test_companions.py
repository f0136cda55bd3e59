from pathlib import Path

import pytest

from facexfer.data.companions import bytes_fingerprint, match_companions
from facexfer.data.manifest import FaceImage, Manifest
from facexfer.errors import InputError


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
