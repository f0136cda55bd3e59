"""Decode photos that nobody has checked: every way in which a file can fail has a name."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps

from facexfer.errors import InputError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 64_000_000
MIN_SIDE = 16
_ORIENTATION = 0x0112
_END_OF_JPEG = b"\xff\xd9"
# What Pillow's readers raise on damaged bytes; the fuzz test keeps this list honest.
_DAMAGE = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, EOFError, OverflowError, ArithmeticError,
           AttributeError, NotImplementedError, MemoryError, struct.error, zlib.error)  # fmt: skip
_GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N", "I")


class PhotoError(InputError):
    """A photo that cannot be used.

    Args:
        reason: A name from a short list, for counting.
        detail: What was found, in one line.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def decode_photo(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode the bytes of an image file of one of `FORMATS`, whatever its name says.

    EXIF rotation is applied, transparency put on black, CMYK and palettes converted. Grey of 16 bits is scaled by the
    bits that its brightest pixel uses (8, 10, 12, 14 or 16), because NIR sensors store 10 or 12 bits in 16.

    Args:
        data: The file.
        max_pixels: More than these are refused from the header, before anything is decoded.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        PhotoError: ``empty-file``, ``not-an-image``, ``too-many-pixels``, ``several-frames``, ``damaged-image`` (also
            cut short) or ``picture-too-small``.
    """
    if not data:
        raise PhotoError("empty-file", "0 bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; only the pixels matter here.
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise PhotoError("too-many-pixels", str(error)) from error
        except _DAMAGE as error:
            raise PhotoError(
                "not-an-image", f"{len(data)} bytes in none of the formats {', '.join(FORMATS)}"
            ) from error
        _check_header(image, max_pixels)
        try:
            plain = _decode_plain_jpeg(data, image)
            return _to_rgb(_upright(image)) if plain is None else plain
        except _DAMAGE as error:
            raise PhotoError("damaged-image", f"{image.format}: {error or type(error).__name__}") from error


def _check_header(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise PhotoError("too-many-pixels", f"{width}x{height}, more than {max_pixels}")
    try:
        frames = getattr(image, "n_frames", 1)
    except _DAMAGE as error:
        raise PhotoError("damaged-image", f"{image.format}: {error or type(error).__name__}") from error
    # Phones put a second photo, for depth or other light, behind the photo (MPO): the first is the photo.
    if frames > 1 and image.format != "MPO":
        raise PhotoError("several-frames", f"{image.format} with {frames} frames; which one is the photo?")
    if min(width, height) < MIN_SIDE:
        raise PhotoError("picture-too-small", f"{width}x{height}, less than {MIN_SIDE} a side")


def _decode_plain_jpeg(data: bytes, image: Image.Image) -> np.ndarray | None:
    # OpenCV gives the same pixels in two thirds of the time, but fills up what is missing: Pillow judges files that do
    # not end as a whole one does, and photos whose last rows are equal.
    if image.format != "JPEG" or image.mode not in ("RGB", "L") or not data.endswith(_END_OF_JPEG):
        return None
    if image.getexif().get(_ORIENTATION, 1) != 1:
        return None
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[1::-1] != image.size or (pixels[-1] == pixels[-2]).all():
        return None
    return np.asarray(pixels)


def _upright(image: Image.Image) -> Image.Image:
    # Asked first, because the transposition copies the photo even where there is nothing to do.
    return image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in _GREY_16 or image.mode == "F":
        return _from_deep_grey(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _from_deep_grey(values: np.ndarray) -> np.ndarray:
    deep = np.nan_to_num(values.astype(np.float32)).clip(0, 2**31)
    highest = float(deep.max())
    if values.dtype.kind == "f" and highest <= 1:
        grey = deep * 255
    else:
        bits = next(bits for bits in (8, 10, 12, 14, 16, 32) if highest < 2**bits)
        grey = deep * 255 / (2**bits - 1)
    return np.repeat((grey + 0.5).astype(np.uint8)[:, :, None], 3, axis=2)
