"""Read images as RGB bytes, and check crops before a run relies on them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from facexfer.data.manifest import FaceImage
from facexfer.data.repeats import hash_picture
from facexfer.errors import InputError

_SHOWN = 5


def read_rgb(path: Path) -> np.ndarray:
    """Read an image of any kind that OpenCV reads.

    Grey images get three equal channels; 16-bit ones are scaled to 8 bits; transparency is dropped; EXIF rotation is
    applied.

    Args:
        path: The file.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        InputError: If the file is missing or no readable image.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"{path}: expected a readable image, got: {error.strerror}; check the path") from error
    image = None
    if len(data):
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        except cv2.error:
            image = None
    if image is None:
        raise InputError(f"{path}: expected a readable image, got {len(data)} bytes that are none; replace the file")
    if image.dtype == np.uint16:
        image = (image.astype(np.float32) / 257 + 0.5).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f"{path}: expected 8 or 16 bits a channel, got {image.dtype}; convert the file")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def read_crop(path: Path, size: tuple[int, int] = (112, 112)) -> np.ndarray:
    """Read an aligned crop.

    Args:
        path: The file.
        size: (height, width) in pixels that it must have.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        InputError: If the file is no readable image of this size.
    """
    image = read_rgb(path)
    if image.shape[:2] != size:
        raise InputError(
            f"{path}: expected a crop of {size[1]}x{size[0]} pixels, got {image.shape[1]}x{image.shape[0]}; "
            "align the photos first (facexfer prepare)"
        )
    return image


def check_crops(images: Sequence[FaceImage], size: tuple[int, int]) -> tuple[str, ...]:
    """Check that every crop can be read and has the right size.

    Args:
        images: The crops.
        size: (height, width) in pixels.

    Returns:
        `facexfer.data.repeats.hash_picture` of each.

    Raises:
        InputError: If any cannot; the error counts them and shows the first ones with file and reason.
    """
    with ThreadPoolExecutor() as pool:
        looked = list(pool.map(lambda image: _look(image, size), images))
    problems = [problem for _, problem in looked if problem]
    if problems:
        shown = " | ".join(problems[:_SHOWN])
        more = f" | and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(f"{len(problems)} of {len(images)} crops cannot be used: {shown}{more}")
    return tuple(picture for picture, _ in looked)


def _look(image: FaceImage, size: tuple[int, int]) -> tuple[str, str]:
    try:
        return hash_picture(read_crop(image.path, size)), ""
    except InputError as error:
        return "", str(error)
