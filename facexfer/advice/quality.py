"""How sharp and how bright crops are, by the measures that `facexfer prepare` has."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from facexfer.data.images import read_crop
from facexfer.data.manifest import FaceImage
from facexfer.data.pictures.depths import find_depths
from facexfer.data.preparation.geometry import sharpness
from facexfer.data.repeats import hash_picture

BLURRED = 0.02
"""What a sharp face has left after a Gaussian blur of 4 pixels (`sharpness`)."""
_SHARES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Quality:
    """What some crops look like.

    Attributes:
        sharpness: Of the 5 % least sharp, the median and the 5 % sharpest crops.
        brightness: The mean grey value 0..255 of a crop, likewise from dark to bright.
        blurred: How many crops are below `BLURRED`.
    """

    sharpness: tuple[float, float, float]
    brightness: tuple[float, float, float]
    blurred: int


def look_at(images: Sequence[FaceImage], size: tuple[int, int]) -> tuple[Quality, tuple[str, ...]]:
    """Read crops once.

    Args:
        images: The rows of a manifest, at least one.
        size: (height, width) in pixels that they must have.

    Returns:
        Their quality, and `facexfer.data.repeats.hash_picture` of each.

    Raises:
        InputError: If a crop cannot be read or has another size.
    """
    depths = find_depths(images)

    def look(image: FaceImage) -> tuple[float, float, str]:
        crop = read_crop(image.path, size, depths.usual(image))
        return sharpness(crop), float(crop.mean()), hash_picture(crop)

    with ThreadPoolExecutor() as pool:
        sharp, bright, pictures = zip(*pool.map(look, images), strict=True)
    blurred = int(np.count_nonzero(np.array(sharp) < BLURRED))
    return Quality(_spread(sharp), _spread(bright), blurred), pictures


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, _SHARES)
    return float(low), float(middle), float(high)
