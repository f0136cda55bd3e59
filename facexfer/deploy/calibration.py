"""Crops on which the ranges of 8-bit numbers are measured."""

import numpy as np

from facexfer.data.images import read_crop
from facexfer.data.manifest import Manifest
from facexfer.data.pictures.depths import find_depths
from facexfer.recipe import Recipe

_IMAGES = 128


def calibration_crops(manifest: Manifest, recipe: Recipe, size: tuple[int, int]) -> np.ndarray:
    """Read training crops, evenly spread over the manifest.

    Args:
        manifest: The run's.
        recipe: The run's; it names the split and the modality that were trained on.
        size: (height, width) of the crops in pixels.

    Returns:
        (N, H, W, 3) uint8 RGB, at most 128.
    """
    training = manifest.select(split=recipe.data.train_split, modality=recipe.data.modality).images
    chosen = training[:: max(1, len(training) // _IMAGES)][:_IMAGES]
    depths = find_depths(training)
    return np.stack([read_crop(image.path, size, depths.usual(image)) for image in chosen])
