"""The crops on which 8-bit ranges are measured: from all of the training images, not from their beginning."""

from pathlib import Path

import numpy as np
import pytest

from facexfer.data.manifest import FaceImage, Manifest
from facexfer.deploy import calibration
from facexfer.deploy.calibration import calibration_crops


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 200, 255, 256, 383, 1000])
def test_crops_are_evenly_spread_over_the_manifest(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def read_crop(path: Path, size: tuple[int, int], bits: int | None) -> np.ndarray:
        read.append(int(path.name))
        return np.zeros((*size, 3), np.uint8)

    monkeypatch.setattr(calibration, "read_crop", read_crop)
    images = tuple(FaceImage(Path(str(place)), "p", "nir", "train") for place in range(count))
    crops = calibration_crops(Manifest(Path("images.csv"), images), (2, 2))
    assert len(crops) == len(set(read)) == min(count, 128)
    assert (read[0], read[-1], sorted(read)) == (0, count - 1, read)
    gaps = np.diff(read)
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1
