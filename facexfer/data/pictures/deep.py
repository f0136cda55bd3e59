"""Pictures of more than 8 bits per channel: how many bits they use, and how they become bytes."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

_DEPTHS = (8, 10, 12, 14, 16, 24, 32)
# One pixel in 2,000 (at least one) may be stuck at white and tells nothing of the others.
_STRAY = 0.0005
# A dark picture of a camera uses up to this many bits less than its bright ones.
_DARK_BITS = 2
_GREY = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_BITS, _PHOTOMETRIC, _MAX_SAMPLE, _SAMPLE_FORMAT, _ORIENTATION = 258, 262, 281, 339, 0x0112
_UNSIGNED, _SIGNED, _MIN_IS_WHITE = 1, 2, 0
# Shares of white, that resampling goes beyond or below it by.
_OVERSHOOT, _UNDERSHOOT = 1.5, 0.05


class UnfitValuesError(ValueError):
    """Pixels whose white level cannot be known."""


@dataclass(frozen=True)
class DeepPixels:
    """Pixels as a file holds them.

    Attributes:
        values: (H, W) or (H, W, 3) of any type.
        alpha: (H, W) of the values' type, or None.
        white: The value of white where the file says it or its form tells; None leaves it to the pixels.
        is_signed: Whether 16 bits hold a sign: 15 are left.
        is_negative: Whether the file says that 0 is white.
    """

    values: np.ndarray
    alpha: np.ndarray | None = None
    white: float | None = None
    is_signed: bool = False
    is_negative: bool = False


def deep_pixels(image: Image.Image, data: bytes) -> DeepPixels | None:
    """Take the pixels of a picture of more than 8 bits per channel, upright.

    Args:
        image: As Pillow opens it.
        data: Its file.

    Returns:
        The pixels; None for a picture of 8 bits.

    Raises:
        UnfitValuesError: If the file's form is not read.
        OSError: Or what else Pillow raises of damaged files.
    """
    if not is_deep(image):
        return None
    return _grey(image) if image.mode in _GREY else _colour(image, data)


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has, by its header, more than 8 bits per channel."""
    return image.mode in _GREY or any(map(_is_deep_tile, _tiles(image)))


def bits_in_use(pixels: DeepPixels) -> int | None:
    """Find how many bits a picture uses: 8, 10, 12, 14, 16 (15 of signed ones), 24 or 32.

    NIR sensors store 10 or 12 bits in 16. The brightest pixels tell, without one in 2,000, which may be stuck. Values
    that are multiples of 16 (10 or 12 bits at the upper end of 16) or of 257 (8 bits spread over 16) use all 16.

    Args:
        pixels: The picture.

    Returns:
        The bits, or None if white is known.

    Example:
        >>> bits_in_use(DeepPixels(np.full((20, 20), 900, np.uint16)))
        10
        >>> bits_in_use(DeepPixels(np.full((20, 20), 900 * 64, np.uint16)))
        16
    """
    if _white(pixels) is not None:
        return None
    top = brightest(pixels.values)
    if top < 2**16 and _fills_sixteen(pixels.values, top):
        bits = 16
    else:
        bits = next(bits for bits in _DEPTHS if top < 2**bits or bits == _DEPTHS[-1])
    return 15 if pixels.is_signed and bits == 16 else bits


def bits_to_read(own: int, usual: int | None) -> int:
    """By how many bits a picture is read, given the others of its camera.

    Args:
        own: That it uses.
        usual: That its camera's pictures use; None if unknown.

    Example:
        >>> bits_to_read(10, 12), bits_to_read(14, 12), bits_to_read(10, 16)
        (12, 14, 10)
    """
    return usual if usual is not None and own < usual <= own + _DARK_BITS else own


def to_bytes(pixels: DeepPixels, bits: int | None) -> np.ndarray:
    """Scale a picture to bytes (H, W, 3), transparency on black; what is beyond white is white, not-a-number black.

    Raises:
        UnfitValuesError: If a good part of the values is negative or no number.
    """
    values = pixels.values.astype(np.float32)
    white = float(2**bits - 1) if bits is not None else _white(pixels)
    assert white is not None
    usable = np.isfinite(values)
    if 2 * np.count_nonzero(usable) < values.size:
        raise UnfitValuesError("expected numbers, most of the pixels are NaN or infinite")
    below = np.count_nonzero(values[usable] < -_UNDERSHOOT * max(brightest(values), 1e-6))
    if below > _STRAY * values.size:
        raise UnfitValuesError(
            f"expected values from 0 up, {below} of {values.size} are negative; shift them so that black is 0"
        )
    shown = np.nan_to_num(values, nan=0.0, posinf=white, neginf=0.0).clip(0, white) * (255 / white)
    if pixels.is_negative:
        shown = 255 - shown
    if pixels.alpha is not None:
        opaque = pixels.alpha.astype(np.float32) / _opaque(pixels.alpha, white)
        shown = shown * (opaque[:, :, None] if shown.ndim == 3 else opaque)
    grey_or_colour = (shown + 0.5).astype(np.uint8)
    return grey_or_colour if grey_or_colour.ndim == 3 else np.repeat(grey_or_colour[:, :, None], 3, axis=2)


def brightest(values: np.ndarray) -> float:
    """The brightest value after leaving out one pixel in 2,000, and at least one."""
    flat = (values if values.ndim == 2 else values.max(axis=2)).ravel()
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    if not len(flat):
        return 0.0
    place = max(0, len(flat) - 1 - math.ceil(_STRAY * len(flat)))
    return float(np.partition(flat, place)[place])


def _white(pixels: DeepPixels) -> float | None:
    if pixels.white is not None or pixels.values.dtype.kind != "f":
        return pixels.white
    top = brightest(pixels.values)
    return 1.0 if top <= _OVERSHOOT else 255.0 if top <= 2**8 else None


def _opaque(alpha: np.ndarray, white: float) -> float:
    # Opaque is the type's highest value, unless somebody has written alpha in the few bits of the colours.
    return white if alpha.max() <= white else float(np.iinfo(alpha.dtype).max)


def _fills_sixteen(values: np.ndarray, top: float) -> bool:
    if values.dtype.kind == "f" or top < 2**8:
        return False
    steps = (257, 16) if top >= 2**12 else (257,)
    return any(np.count_nonzero(values % step) <= _STRAY * values.size for step in steps)


def _grey(image: Image.Image) -> DeepPixels:
    tags = getattr(image, "tag_v2", {})
    # Pillow has scaled such a file by the largest value that its header names.
    named = image.format == "PPM" and any(tile[0] != "raw" for tile in _tiles(image))
    # Asked first, because the transposition copies the photo even where there is nothing to do.
    upright = image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)
    values = np.asarray(upright)
    size, form = _first(tags.get(_BITS)), _first(tags.get(_SAMPLE_FORMAT)) or _UNSIGNED
    if size == 32 and form == _UNSIGNED and values.dtype == np.int32:
        values = values.view(np.uint32)
    white = 65535.0 if named else None
    if tags and values.dtype.kind != "f":
        largest = _first(tags.get(_MAX_SAMPLE)) or 0
        if 2**8 <= largest < 2**16 - 1 and brightest(values) <= largest:
            white = float(largest)
        elif size is not None and size < 16:
            white = float(2**size - 1)
    return DeepPixels(
        values, None, white, size == 16 and form == _SIGNED, bool(tags) and tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE
    )


def _colour(image: Image.Image, data: bytes) -> DeepPixels:
    # Pillow keeps the upper 8 bits of 16 only, OpenCV all; but OpenCV fills up what is missing: Pillow judges the file.
    if image.mode not in ("RGB", "RGBA"):
        raise UnfitValuesError(f"expected 16-bit grey or RGB, got 16-bit {image.mode}; save it with 8 bits per channel")
    image.load()
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None or values.dtype != np.uint16 or values.shape[1::-1] != image.size or values.ndim != 3:
        raise UnfitValuesError("expected 16-bit RGB in a form that OpenCV reads; save it with 8 bits per channel")
    values = _turned(values, image.getexif().get(_ORIENTATION, 1))
    alpha = values[:, :, 3] if image.mode == "RGBA" else None
    return DeepPixels(np.ascontiguousarray(values[:, :, 2::-1]), alpha)


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Apply EXIF's orientation, of which 5 to 8 change the sides."""
    turned = values.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else values
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned


def _tiles(image: Image.Image) -> list[tuple[Any, ...]]:
    # What Pillow will decode, and how; pictures that it has made itself have none.
    found: list[tuple[Any, ...]] = getattr(image, "tile", [])
    return found


def _is_deep_tile(tile: tuple[Any, ...]) -> bool:
    arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
    if tile[0] == "ppm" and arguments[-1] == 2**16 - 1:
        return True
    return isinstance(arguments[0], str) and ";16" in arguments[0]


def _first(value: object) -> int | None:
    found = value[0] if isinstance(value, tuple) and value else value
    return found if isinstance(found, int) else None
