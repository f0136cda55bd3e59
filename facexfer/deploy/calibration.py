"""Crops on which the ranges of 8-bit numbers are measured."""

import numpy as np

from facexfer.data.images import read_crop
from facexfer.data.manifest import Manifest
from facexfer.data.pictures.depths import find_depths

_IMAGES = 128


def calibration_crops(training: Manifest, size: tuple[int, int]) -> np.ndarray:
    """Read training crops, evenly spread over the manifest.

    Args:
        training: What the run was trained on.
        size: (height, width) of the crops in pixels.

    Returns:
        (N, H, W, 3) uint8 RGB, at most 128; the first and the last training image are among them.
    """
    images = training.images
    places = np.linspace(0, len(images) - 1, min(len(images), _IMAGES)).round().astype(int)
    depths = find_depths(images)
    chosen = [images[place] for place in places]
    return np.stack([read_crop(image.path, size, depths.usual(image)) for image in chosen])
