"""Pictures of more than 8 bits: every form is read right, or refused with a reason."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from photo_files import encoded
from PIL import Image, ImageOps

from facexfer.data.pictures.deep import DeepPixels, bits_in_use, bits_to_read
from facexfer.data.pictures.photos import PhotoError, decode_photo, find_bits, has_deep_pixels

GREY = np.random.default_rng(0).integers(0, 256, (40, 48), dtype=np.uint8)
# Pictures have a brightest part, of more than a stray pixel.
GREY[:4] = 255


def deep(bits: int, grey: np.ndarray = GREY) -> np.ndarray:
    return (grey.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)


def written(values: np.ndarray, form: str = ".png") -> bytes:
    return cv2.imencode(form, values)[1].tobytes()


def distance(data: bytes, want: np.ndarray) -> float:
    got = decode_photo(data).pixels.astype(int)
    return np.abs(got - (want if want.ndim == 3 else want[:, :, None])).max()


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("form", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_and_colour_are_scaled_by_the_bits_in_use(bits: int, form: str, channels: int) -> None:
    values = deep(bits)
    colour = np.stack([values, np.roll(values, 1, 0), np.roll(values, 2, 0), np.full_like(values, 2**bits - 1)], axis=2)
    shown = np.stack([GREY, np.roll(GREY, 1, 0), np.roll(GREY, 2, 0)], axis=2)
    data = written(values if channels == 1 else colour[:, :, :channels], form)
    assert distance(data, GREY if channels == 1 else shown[:, :, ::-1]) <= 1
    assert decode_photo(data).bits == find_bits(data) == bits
    assert has_deep_pixels(io.BytesIO(data))


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_transparency_uses_all_16_bits_whatever_the_colours_use(bits: int) -> None:
    values = np.full((32, 32, 4), 2**bits - 1, np.uint16)
    values[:, :, 3] = 65535
    values[:16, :, 3] = 32768
    values[:8, :, 3] = 655
    shown = decode_photo(written(values)).pixels
    assert [shown[row, 0, 0] for row in (2, 10, 20)] == [3, 128, 255]


def test_a_stuck_pixel_does_not_make_the_picture_black() -> None:
    values = deep(12)
    values[20, 20] = 65535
    want = GREY.copy()
    want[20, 20] = 255
    assert distance(written(values), want) <= 1


@pytest.mark.parametrize("left", [2, 4, 6, 8])
def test_bits_at_the_upper_end_of_16_use_all_of_them(left: int) -> None:
    assert distance(written(deep(16 - left) << left), GREY) <= 2
    dark = (deep(16 - left, GREY // 8) << left).astype(np.uint16)
    if left >= 4:
        assert find_bits(written(dark)) == 16


def test_8_bits_spread_over_16_keep_their_values() -> None:
    assert distance(written(GREY.astype(np.uint16) * 257), GREY) == 0
    assert distance(written((GREY // 8).astype(np.uint16) * 257), GREY // 8) == 0


def test_8_bits_in_16_and_black_are_read_as_they_are() -> None:
    assert distance(written(GREY.astype(np.uint16)), GREY) == 0
    assert distance(written(np.zeros((20, 20), np.uint16)), np.zeros((20, 20))) == 0


def test_signed_and_32_bit_values() -> None:
    assert distance(written((GREY.astype(np.int32) * 32767 // 255).astype(np.int16), ".tif"), GREY) <= 1
    assert distance(written(deep(12).astype(np.int32), ".tif"), GREY) <= 1
    assert distance(written((GREY.astype(np.uint64) * (2**32 - 1) // 255).astype(np.uint32), ".tif"), GREY) <= 1


@pytest.mark.parametrize("white", [1, 255, 4095, 65535])
def test_float_pictures_are_read_by_their_range(white: int) -> None:
    values = GREY.astype(np.float32) * (white / 255)
    values[8, 0], values[9, 0], values[10, 0] = np.nan, np.inf, -np.inf
    want = GREY.copy()
    want[8, 0], want[9, 0], want[10, 0] = 0, 255, 0
    assert distance(written(values, ".tif"), want) <= 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (GREY.astype(np.int16) - 128, "negative; shift them"),
        (GREY.astype(np.float32) / 255 - 0.5, "negative; shift them"),
        (np.full((40, 48), np.nan, np.float32), "most of the pixels are NaN or infinite"),
        (np.full((40, 48), np.inf, np.float32), "most of the pixels are NaN or infinite"),
        (np.zeros((40, 48, 3), np.float32), "of a kind that is not read"),
        (np.zeros((40, 48), np.float64), "of a kind that is not read"),
        (np.zeros((40, 48, 3), np.int16), "of a kind that is not read"),
    ],
)
def test_what_has_no_white_is_refused_with_the_reason(values: np.ndarray, message: str) -> None:
    with pytest.raises(PhotoError, match=message):
        decode_photo(written(values, ".tif"))


def test_what_the_file_says_of_white_is_believed() -> None:
    dark = deep(12, GREY // 8)
    plain = b"P2 48 40 4095 " + " ".join(map(str, dark.ravel().tolist())).encode()
    binary = b"P5 48 40 4095\n" + dark.astype(">u2").tobytes()
    colour = b"P6 48 40 4095\n" + np.repeat(dark[:, :, None], 3, axis=2).astype(">u2").tobytes()
    for data in (plain, binary, colour):
        assert distance(data, GREY // 8) <= 1
        assert find_bits(data) is None
    # A PPM of 65535 tells as little as a PNG of 16 bits.
    assert distance(written(np.repeat(deep(12)[:, :, None], 3, axis=2), ".ppm"), GREY) <= 1
    named = encoded(Image.fromarray(dark), "TIFF", tiffinfo={281: 4095})
    assert distance(named, GREY // 8) <= 1
    negative = encoded(Image.fromarray(deep(16)), "TIFF", tiffinfo={262: 0})
    assert distance(negative, 255 - GREY) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["grey", "colour"])
def test_deep_pictures_are_turned_upright(orientation: int, mode: str) -> None:
    values = deep(12) if mode == "grey" else np.stack([deep(12), deep(12)[::-1], deep(12)[:, ::-1]], axis=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = Image.fromarray(decode_photo(written(values)).pixels)
    plain.getexif()[0x0112] = orientation
    chunk = exif.tobytes().removeprefix(b"Exif\0\0")
    data = written(values)
    # A PNG's header ends at byte 33.
    data = data[:33] + png_chunk(b"eXIf", chunk) + data[33:]
    np.testing.assert_array_equal(decode_photo(data).pixels, np.asarray(ImageOps.exif_transpose(plain)))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_damaged_deep_colour_is_refused() -> None:
    data = written(np.repeat(deep(12)[:, :, None], 3, axis=2))
    with pytest.raises(PhotoError, match="damaged-image"):
        decode_photo(data[:-200])


def test_the_usual_bits_lift_a_dark_picture_and_lower_none() -> None:
    assert bits_in_use(DeepPixels(np.full((20, 20), 900, np.uint16))) == 10
    assert [bits_to_read(own, 12) for own in (8, 10, 12, 14, 16)] == [8, 12, 12, 14, 16]
    assert bits_to_read(10, None) == 10
    data = written(deep(10))
    assert decode_photo(data, usual_bits=12).bits == 12
    assert decode_photo(data, usual_bits=12).pixels.max() == 64
    assert decode_photo(data, usual_bits=16).pixels.max() == 255


def test_ordinary_pictures_are_not_deep() -> None:
    image = Image.fromarray(GREY)
    for form in ("PNG", "JPEG", "TIFF", "PPM", "GIF", "BMP", "WEBP"):
        data = encoded(image, form)
        assert not has_deep_pixels(io.BytesIO(data)), form
        assert decode_photo(data).bits == 8
    assert distance(encoded(Image.fromarray(GREY > 128)), np.where(GREY > 128, 255, 0)) == 0
