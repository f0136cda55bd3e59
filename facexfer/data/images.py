"""Read crops and other images as RGB bytes, and check crops before a run relies on them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from facexfer.data.manifest import FaceImage
from facexfer.data.pictures.depths import Depths, find_depths
from facexfer.data.pictures.photos import PhotoError, decode_photo
from facexfer.data.repeats import hash_picture
from facexfer.errors import InputError

READER = "reader 3"
"""Another number wherever the same files are read as other pixels."""
_SHOWN = 5
_MAX_BYTES = 2**29


def read_rgb(path: Path, usual_bits: int | None = None) -> np.ndarray:
    """Read an image by the one reader of all pictures, `decode_photo`.

    Args:
        path: The file.
        usual_bits: What pictures of the same camera use, if it has more than 8 (see `facexfer.data.pictures.depths`).

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        InputError: If the file is missing or no readable image.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: expected a readable image, got a folder or the like; check the path")
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"{path}: expected a readable image, got {size} bytes, more than {_MAX_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise InputError(f"{path}: expected a readable image, got: {why}; check the path") from error
    except MemoryError as error:
        raise InputError(
            f"{path}: expected a readable image, there is not enough memory to read it; use a smaller file"
        ) from error
    try:
        return decode_photo(data, min_side=1, usual_bits=usual_bits).pixels
    except PhotoError as error:
        raise InputError(f"{path}: expected a readable image, got {error}; replace the file") from error


def read_crop(path: Path, size: tuple[int, int] = (112, 112), usual_bits: int | None = None) -> np.ndarray:
    """Read an aligned crop.

    Args:
        path: The file.
        size: (height, width) in pixels that it must have.
        usual_bits: What pictures of the same camera use, if it has more than 8.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        InputError: If the file is no readable image of this size.
    """
    image = read_rgb(path, usual_bits)
    if image.shape[:2] != size:
        raise InputError(
            f"{path}: expected a crop of {size[1]}x{size[0]} pixels, got {image.shape[1]}x{image.shape[0]}; "
            "align the photos first (facexfer prepare)"
        )
    return image


def check_crops(images: Sequence[FaceImage], size: tuple[int, int], depths: Depths | None = None) -> tuple[str, ...]:
    """Check that every crop can be read and has the right size.

    Args:
        images: The crops.
        size: (height, width) in pixels.
        depths: Of the crops and what else is read with them; None looks at the crops alone.

    Returns:
        `facexfer.data.repeats.hash_picture` of each.

    Raises:
        InputError: If any cannot; the error counts them and shows the first ones with file and reason.
    """
    depths = find_depths(images) if depths is None else depths
    with ThreadPoolExecutor() as pool:
        looked = list(pool.map(lambda image: _look(image, size, depths.usual(image)), images))
    problems = [problem for _, problem in looked if problem]
    if problems:
        shown = " | ".join(problems[:_SHOWN])
        more = f" | and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(f"{len(problems)} of {len(images)} crops cannot be used: {shown}{more}")
    return tuple(picture for picture, _ in looked)


def _look(image: FaceImage, size: tuple[int, int], usual_bits: int | None) -> tuple[str, str]:
    try:
        return hash_picture(read_crop(image.path, size, usual_bits)), ""
    except InputError as error:
        return "", str(error)
