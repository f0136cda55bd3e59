"""Photos that nobody has checked: each kind of trouble has its name, and no bytes bring the decoder down."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from photo_files import encoded, picture
from PIL import Image

from facexfer.data.pictures import photos
from facexfer.data.pictures.photos import PhotoError

RGB = picture(size=(48, 40))


def decode_photo(data: bytes, **options: int) -> np.ndarray:
    return photos.decode_photo(data, **options).pixels


def reason_of(data: bytes, **options: int) -> str:
    with pytest.raises(PhotoError) as caught:
        decode_photo(data, **options)
    return caught.value.reason


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF"])
def test_exact_forms_keep_every_pixel(form: str) -> None:
    np.testing.assert_array_equal(decode_photo(encoded(RGB, form)), np.asarray(RGB))


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(RGB, "JPEG", exif=exif, quality=95)
    upright = np.asarray(RGB.rotate(-90, expand=True)).astype(int)
    assert np.abs(decode_photo(data).astype(int) - upright).mean() < 12


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 95}, {"subsampling": 1}])
def test_plain_jpegs_have_the_pixels_that_pillow_gives(mode: str, options: dict[str, Any]) -> None:
    data = encoded(picture(2, (49, 37)).convert(mode), "JPEG", **options)
    np.testing.assert_array_equal(decode_photo(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    # Cut short; the second time with the end of a whole file put behind it again.
    assert reason_of(data[: len(data) // 2]) == "damaged-image"
    for part in (0.5, 0.7, 0.9):
        assert reason_of(data[: int(part * len(data))] + b"\xff\xd9") == "damaged-image"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}, {"optimize": True, "quality": 30}]
)
@pytest.mark.parametrize("grey", [0, 100, 128, 255])
def test_a_flat_part_is_no_missing_part(mode: str, options: dict[str, Any], grey: int) -> None:
    pixels = np.array(picture(3, (49, 96)))
    pixels[64:] = grey
    data = encoded(Image.fromarray(pixels).convert(mode), "JPEG", **options)
    shown = decode_photo(data)
    np.testing.assert_array_equal(shown, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    # Bytes behind the end, as some cameras write them, and fill bytes before it are no part of the picture.
    np.testing.assert_array_equal(decode_photo(data + b"more\xff\xd9"), shown)
    np.testing.assert_array_equal(decode_photo(data[:-2] + b"\xff\xff\xd9"), shown)
    assert reason_of(data[: len(data) // 2] + b"\xff\xd9") == "damaged-image"
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(pixels).convert(mode), "JPEG", exif=exif, **options)
    assert decode_photo(turned).shape == (49, 96, 3)
    assert reason_of(turned[: -len(data) // 2] + b"\xff\xd9") == "damaged-image"


def test_cmyk_palette_grey_and_transparency_become_rgb() -> None:
    grey = RGB.convert("L")
    assert (
        np.abs(decode_photo(encoded(RGB.convert("CMYK"), "JPEG", quality=95)).astype(int) - np.asarray(RGB)).mean() < 8
    )
    assert decode_photo(encoded(RGB.convert("P"), "GIF")).shape == (40, 48, 3)
    np.testing.assert_array_equal(decode_photo(encoded(grey))[:, :, 2], np.asarray(grey))
    clear = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
    assert decode_photo(encoded(clear)).max() == 0


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_deep_grey_is_scaled_by_the_bits_it_uses(bits: int, form: str) -> None:
    ramp = np.linspace(0, 2**bits - 1, 400).round().astype(np.uint16).reshape(20, 20)
    shown = decode_photo(encoded(Image.fromarray(ramp), form))
    assert shown[0, 0, 0] == 0
    assert shown[-1, -1, 0] == 255
    assert abs(int(shown[10, 0, 0]) - 128) < 2


def test_float_pictures_are_read_as_parts_of_one() -> None:
    values = np.full((20, 20), 0.5, np.float32)
    values[0, 0] = np.nan
    shown = decode_photo(encoded(Image.fromarray(values), "TIFF"))
    assert shown[5, 5, 0] == 128
    assert shown[0, 0, 0] == 0


def test_every_kind_of_trouble_has_its_name() -> None:
    assert reason_of(encoded(Image.new("L", (1, 1)))) == "picture-too-small"
    assert reason_of(encoded(RGB, "GIF", save_all=True, append_images=[picture(1, (48, 40))])) == "several-frames"
    assert reason_of(encoded(RGB, "TIFF", save_all=True, append_images=[RGB])) == "several-frames"
    twice = encoded(RGB, "MPO", save_all=True, append_images=[picture(1, (48, 40))])
    np.testing.assert_array_equal(decode_photo(twice), decode_photo(encoded(RGB, "JPEG")))
    assert reason_of(encoded(RGB, "JPEG")[:-400]) == "damaged-image"
    assert reason_of(encoded(RGB)[:-400]) == "damaged-image"
    assert reason_of(encoded(RGB), max_pixels=100) == "too-many-pixels"


@pytest.mark.parametrize("side", [9_000, 60_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_from_its_header(side: int) -> None:
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10**6))
    assert reason_of(bomb) in ("too-many-pixels", "not-an-image")


SMALL = picture(size=(24, 20))
FILES = [
    encoded(SMALL, "JPEG"), encoded(SMALL, "JPEG", progressive=True), encoded(SMALL.convert("CMYK"), "JPEG"),
    encoded(SMALL), encoded(SMALL.convert("P")), encoded(SMALL.convert("L"), "PPM"), encoded(SMALL, "BMP"),
    encoded(SMALL.convert("P"), "BMP"), encoded(SMALL, "TIFF"), encoded(SMALL, "TIFF", compression="tiff_lzw"),
    encoded(SMALL, "TIFF", compression="jpeg"),
    encoded(Image.fromarray(np.asarray(SMALL.convert("L")) * np.uint16(99))),
]  # fmt: skip


@pytest.mark.slow
@given(
    data=st.sampled_from(FILES),
    # Half of the changes hit the first bytes, where headers are.
    changes=st.lists(st.tuples(st.integers(0, 80) | st.integers(0, 10**6), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 10**6) | st.none(),
    added=st.binary(max_size=12),
)
def test_any_changed_file_gives_a_picture_or_a_reason(data, changes, cut, added) -> None:
    mutable = bytearray(data if cut is None else data[: cut % len(data)])
    for place, value in changes:
        if mutable:
            mutable[place % len(mutable)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            image = decode_photo(bytes(mutable) + added, max_pixels=10**6)
        except PhotoError:
            return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.shape[0] * image.shape[1] <= 10**6
