from pathlib import Path

import cv2
import pytest
from small_faces import write_small_set

from facexfer.advice.quality import look_at
from facexfer.data.manifest import read_manifest
from facexfer.data.repeats import hash_picture
from facexfer.errors import InputError


def test_blurred_and_dark_crops_are_seen(tmp_path: Path) -> None:
    images = read_manifest(write_small_set(tmp_path, train=2, val=0, modalities=("nir",))).images
    quality, pictures = look_at(images, (112, 112))
    assert quality.blurred == 0
    assert quality.sharpness[0] <= quality.sharpness[1] <= quality.sharpness[2]
    for image in images[:4]:
        crop = cv2.imread(str(image.path))
        cv2.imwrite(str(image.path), cv2.GaussianBlur(crop, (0, 0), 25))
    worse, changed = look_at(images, (112, 112))
    assert worse.blurred == 4
    assert changed[4:] == pictures[4:]
    assert not set(changed[:4]) & set(pictures)
    assert changed[0] == hash_picture(cv2.imread(str(images[0].path))[:, :, ::-1])
    for image in images:
        cv2.imwrite(str(image.path), cv2.imread(str(image.path)) // 8)
    dark, _ = look_at(images, (112, 112))
    assert max(dark.brightness) < 32


def test_crops_of_another_size_are_refused(tmp_path: Path) -> None:
    images = read_manifest(write_small_set(tmp_path, train=1, val=0, size=96)).images
    with pytest.raises(InputError, match="expected a crop of 112x112 pixels, got 96x96; align the photos first"):
        look_at(images, (112, 112))
