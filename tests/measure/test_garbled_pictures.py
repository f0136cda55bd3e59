"""Garbled crops in a manifest: an evaluation is right, or one clear line names the file."""

from pathlib import Path

import numpy as np
import pytest
from photo_files import damaged, encoded, every_form
from PIL import Image
from small_faces import write_small_set

import facexfer
from facexfer.backbones import create_backbone
from facexfer.data.images import read_crop
from facexfer.errors import InputError


def test_every_garbled_crop_is_measured_right_or_one_line(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    manifest = write_small_set(tmp_path, train=0, val=3, images=2, modalities=("nir",))
    network = create_backbone("mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)")
    victim = tmp_path / "nir" / "p1" / "1.png"
    whole = Image.open(victim).convert("RGB")
    whole.load()
    deep = Image.fromarray(np.asarray(whole.convert("L")) * np.uint16(16))
    files = [encoded(whole), encoded(whole, "JPEG"), encoded(whole, "TIFF"), encoded(deep), encoded(deep, "TIFF")]
    files += list(every_form(seed=1).values())[:3]
    errors = measured = 0
    for number in range(32):
        data = files[number % len(files)]
        victim.write_bytes(damaged(data, generator) if number >= len(files) else data)
        try:
            found = facexfer.evaluate(network, manifest, fars=[0.5])
        except InputError as error:
            errors += 1
            line = str(error)
        else:
            measured += 1
            assert read_crop(victim).shape == (112, 112, 3)
            assert found.points[0].genuine_pairs == 3
            continue
        assert line.startswith(f"{victim}: expected a ")
        assert "\n" not in line
    assert errors
    assert measured


@pytest.mark.parametrize("place", ["folder", "nothing"])
def test_what_is_no_file_is_one_line(tmp_path: Path, place: str) -> None:
    manifest = write_small_set(tmp_path, train=0, val=2, images=2, modalities=("nir",))
    victim = tmp_path / "nir" / "p1" / "1.png"
    victim.unlink()
    if place == "folder":
        victim.mkdir()
    with pytest.raises(InputError, match=r"1\.png: expected a readable image, got"):
        facexfer.evaluate(create_backbone("mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"), manifest, fars=[0.5])
