"""What the pictures of a set use is found for each camera, said, and does not hang on one file."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from facexfer.data.pictures.depths import find_depths


def picture(bits: int, camera: str | None = None, modality: str = "nir"):
    ramp = np.linspace(0, 2**bits - 1, 400).reshape(20, 20)
    values = ramp.astype(np.uint16) if bits > 8 else ramp.astype(np.uint8)
    return SimpleNamespace(modality=modality, camera=camera), cv2.imencode(".png", values)[1].tobytes()


def depths_of(*pictures):
    kinds, files = zip(*pictures, strict=True)
    return find_depths(kinds, files), kinds


def test_a_few_dark_or_strange_pictures_change_nothing() -> None:
    depths, kinds = depths_of(*[picture(12)] * 30, *[picture(10)] * 3, picture(16))
    assert depths.usual(kinds[0]) == 12
    assert depths.read_as() == {"nir": {"12": 33, "16": 1}}
    assert depths.text == (
        "nir: 33 deep pictures are read as 12-bit (3 of them use 10 only), 1 are read as 16-bit: of another camera?"
    )


def test_cameras_are_read_each_by_its_own() -> None:
    depths, _ = depths_of(picture(10, "a"), picture(12, "b"), picture(16, modality="vis"), picture(8))
    assert [depths.usual(picture(8, *each)[0]) for each in (("a",), ("b",), (None, "vis"), (None, "nir"))] == [
        10, 12, 16, None,
    ]  # fmt: skip
    assert depths.text.count(";") == 2


def test_nothing_is_said_of_8_bits_and_of_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.tif").write_bytes(b"II*\0 no picture")
    paths = [tmp_path / "folder.png", tmp_path / "text.tif", tmp_path / "none.png"]
    assert find_depths(paths, paths).text == ""
    assert depths_of(picture(8))[0].text == ""
