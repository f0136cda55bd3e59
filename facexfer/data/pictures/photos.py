"""Decode unchecked photos: every way in which a file can fail has a name."""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps

from facexfer.data.pictures.deep import UnfitValuesError, bits_in_use, bits_to_read, deep_pixels, is_deep, to_bytes
from facexfer.data.pictures.whole import is_cut_short, may_be_cut
from facexfer.errors import InputError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 64_000_000
MIN_SIDE = 16
_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"
_DEEP_BYTE = 24
# TIFF and the grey and colour forms of PPM.
_MAY_BE_DEEP = (b"II", b"MM", b"P2", b"P3", b"P5", b"P6")
_END_OF_JPEG = b"\xff\xd9"
# What Pillow's readers raise on damaged bytes; the fuzz test keeps this list honest.
_DAMAGE = (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, EOFError, OverflowError, ArithmeticError,
           AttributeError, NotImplementedError, MemoryError, struct.error, zlib.error)  # fmt: skip


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


@dataclass(frozen=True)
class Photo:
    """A decoded picture.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        bits: By how many bits per channel it was read: 8, or what was found of a picture of more.
    """

    pixels: np.ndarray
    bits: int = 8


def decode_photo(
    data: bytes, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE, usual_bits: int | None = None
) -> Photo:
    """Decode the bytes of an image file of one of `FORMATS`, whatever its name says: the one reader of all pictures.

    EXIF rotation is applied, transparency put on black, CMYK and palettes converted. Grey and RGB of more than 8 bits
    are scaled by the bits that are in use (see `facexfer.data.pictures.deep.bits_in_use`).

    Args:
        data: The file.
        max_pixels: More than these are refused from the header, before anything is decoded.
        min_side: Shorter sides are refused, in pixels.
        usual_bits: What pictures of the same camera use; a darker one is read by these too.

    Returns:
        The picture.

    Raises:
        PhotoError: ``empty-file``, ``not-an-image``, ``too-many-pixels``, ``several-frames``, ``damaged-image`` (also
            cut short), ``unfit-values`` or ``picture-too-small``.
    """
    with _opened(data, max_pixels, min_side) as image:
        plain = _decode_plain_jpeg(data, image)
        if plain is not None:
            return Photo(plain)
        _check_whole(data, image)
        deep = deep_pixels(image, data)
        if deep is None:
            return Photo(_to_rgb(_upright(image)))
        own = bits_in_use(deep)
        bits = None if own is None else bits_to_read(own, usual_bits)
        return Photo(to_bytes(deep, bits), bits or 16)


def has_deep_pixels(file: BinaryIO) -> bool:
    """Whether a file is, by its header, a picture of more than 8 bits per channel."""
    head = file.read(_DEEP_BYTE + 1)
    if head.startswith(_PNG):
        return head[_DEEP_BYTE:] == b"\x10"
    if not head.startswith(_MAY_BE_DEEP):
        return False
    file.seek(0)
    with _pillow_kept_quiet():
        try:
            return is_deep(Image.open(file, formats=FORMATS))
        except (Image.DecompressionBombError, *_DAMAGE):
            return False


def find_bits(data: bytes, max_pixels: int = MAX_PIXELS) -> int | None:
    """Find how many bits a picture uses (see `bits_in_use`).

    Args:
        data: The file.
        max_pixels: Larger pictures are not looked at.

    Returns:
        The bits; None if the picture has 8, says how many, or cannot be decoded.
    """
    try:
        with _opened(data, max_pixels, 1) as image:
            deep = deep_pixels(image, data)
            return None if deep is None else bits_in_use(deep)
    except PhotoError:
        return None


@contextmanager
def _opened(data: bytes, max_pixels: int, min_side: int) -> Iterator[Image.Image]:
    """Open a picture; what is raised of its bytes in the block becomes a `PhotoError`."""
    if not data:
        raise PhotoError("empty-file", "0 bytes")
    with _pillow_kept_quiet():
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise PhotoError("too-many-pixels", str(error)) from error
        except _DAMAGE as error:
            raise PhotoError("not-an-image", _what_it_is(data)) from error
        _check_header(image, max_pixels, min_side)
        try:
            yield image
        except UnfitValuesError as error:
            raise PhotoError("unfit-values", f"{image.format}: {error}") from error
        except (*_DAMAGE, cv2.error) as error:
            raise PhotoError("damaged-image", f"{image.format}: {error or type(error).__name__}") from error


_lock = threading.Lock()
_quiet: list[ExitStack] = []
_users = 0


@contextmanager
def _pillow_kept_quiet() -> Iterator[None]:
    # Pillow warns of odd metadata; only the pixels matter here. Filters belong to the whole process: the first of
    # several threads sets them and the last one puts them back.
    global _users
    with _lock:
        if _users == 0:
            stack = ExitStack()
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            _quiet.append(stack)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _quiet.pop().close()


def _what_it_is(data: bytes) -> str:
    if data[:4] in (b"II*\0", b"MM\0*"):
        return (
            f"{len(data)} bytes of a TIFF that is damaged or of a kind that is not read (float or signed colour, for "
            "example); save it with 8 or 16 bits per channel"
        )
    return f"{len(data)} bytes in none of the formats {', '.join(FORMATS)}"


def _check_header(image: Image.Image, max_pixels: int, min_side: int) -> None:
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
    if min(width, height) < min_side:
        raise PhotoError("picture-too-small", f"{width}x{height}, less than {min_side} a side")


def _decode_plain_jpeg(data: bytes, image: Image.Image) -> np.ndarray | None:
    # OpenCV gives the same pixels in two thirds of the time, but fills up what is missing: Pillow reads files that do
    # not end as a whole one does, and those that may be cut short.
    if image.format != "JPEG" or image.mode not in ("RGB", "L") or not data.endswith(_END_OF_JPEG):
        return None
    if "progressive" in image.info:
        # It has to be looked at by `may_be_cut` in any case.
        return None
    if image.getexif().get(_ORIENTATION, 1) != 1:
        return None
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[1::-1] != image.size or may_be_cut(image, pixels[-1, -1]):
        return None
    return np.asarray(pixels)


def _check_whole(data: bytes, image: Image.Image) -> None:
    if image.format not in ("JPEG", "MPO"):
        return
    last = np.array(image.getpixel((image.width - 1, image.height - 1)))
    if may_be_cut(image, last) and is_cut_short(data, image):
        raise PhotoError("damaged-image", f"{image.format}: cut short, the last part of the picture is missing")


def _upright(image: Image.Image) -> Image.Image:
    # Asked first, because the transposition copies the photo even where there is nothing to do.
    return image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
