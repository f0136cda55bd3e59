"""Whether a JPEG holds all of its picture: decoders fill what is missing with grey, and only warn."""

import io
import re

import numpy as np
from PIL import Image

# A marker that ends coded data: not a stuffed 0xFF, a restart or a fill byte.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_START_OF_SCAN, _END = 0xDA, 0xD9
# What a decoder takes for more of the picture if some is missing, and skips if none is.
_MORE = bytes(np.random.default_rng(0).integers(0, 255, 4096, dtype=np.uint8))
_GREY, _NEAR = 128, 4


def may_be_cut(image: Image.Image, last: np.ndarray) -> bool:
    """Whether a JPEG is worth the second decoding of `is_cut_short`.

    Args:
        image: The picture, as Pillow opened it.
        last: The last pixel, (C,) uint8: what is missing of a picture that is not progressive becomes grey.
    """
    if "progressive" in image.info or image.mode not in ("RGB", "L"):
        return True
    return bool((np.abs(np.atleast_1d(last).astype(int) - _GREY) <= _NEAR).all())


def is_cut_short(data: bytes, image: Image.Image) -> bool:
    """Whether a JPEG's coded data end before its picture does, whatever stands behind them.

    It is decoded again with other data put before its end. Of a whole picture, the decoder has no use for them.

    Args:
        data: The file.
        image: The picture, as Pillow decoded it.
    """
    end = _end_of_data(data)
    if end is None:
        return False
    longer = Image.open(io.BytesIO(data[:end].rstrip(b"\xff") + _MORE + b"\xff\xd9"), formats=("JPEG",))
    return longer.tobytes() != image.tobytes()


def _end_of_data(data: bytes) -> int | None:
    """Where the end marker of the first picture of a file is, None if it has none."""
    place = 2
    while place + 4 <= len(data) + 2:
        while data[place : place + 2] == b"\xff\xff":
            place += 1
        if data[place : place + 1] != b"\xff" or place + 1 >= len(data):
            return None
        if data[place + 1] == _END:
            return place
        is_scan = data[place + 1] == _START_OF_SCAN
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if is_scan:
            found = _MARKER.search(data, place)
            if found is None:
                return None
            place = found.start()
    return None
