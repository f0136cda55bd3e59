"""Photos made in a test: a drawn scene with five known points, in any file format."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facexfer.data.preparation.align import template

POINTS = template() * 0.8 + (30, 20)


def picture(seed: int = 0, size: tuple[int, int] = (160, 140)) -> Image.Image:
    """Draw (width, height) smooth noise with the contrast of a photo."""
    generator = np.random.default_rng(seed)
    cells = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    return cells.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def write_photos(root: Path, people: int = 3, photos: int = 4, form: str = "PNG") -> Path:
    """Write a folder per identity and next to it a CSV of landmarks, and give the CSV's path."""
    rows = []
    for person in range(people):
        (root / f"p{person}").mkdir(parents=True, exist_ok=True)
        for number in range(photos):
            name = f"p{person}/{number}.{form.lower()}"
            (root / name).write_bytes(encoded(picture(100 * person + number), form))
            shifted = POINTS + np.random.default_rng(number).normal(0, 1, (5, 2))
            rows.append([name, *(f"{value:.3f}" for value in shifted.ravel())])
    table = root.parent / f"{root.name}-landmarks.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *(f"{axis}{point}" for point in range(1, 6) for axis in "xy")])
        writer.writerows(rows)
    return table


def damaged(data: bytes, generator: np.random.Generator) -> bytes:
    """Change, cut, lengthen or double bytes of a file; half of the changes hit the first bytes, where headers are."""
    mutable = bytearray(data)
    for _ in range(int(generator.integers(0, 9))):
        reach = len(mutable) if generator.random() < 0.5 else min(len(mutable), 96)
        mutable[int(generator.integers(reach))] = int(generator.integers(256))
    kind = generator.random()
    if kind < 0.15:
        del mutable[int(generator.integers(len(mutable))) :]
    elif kind < 0.25:
        mutable += generator.bytes(int(generator.integers(1, 2000)))
    elif kind < 0.35:
        start, end = sorted(generator.integers(0, len(mutable), 2).tolist())
        mutable[end:end] = mutable[start:end]
    elif kind < 0.45:
        start, end = sorted(generator.integers(0, len(mutable), 2).tolist())
        del mutable[start:end]
    return bytes(mutable)


def every_form(seed: int = 0) -> dict[str, bytes]:
    """One picture in many formats: suffix -> bytes."""
    photo = picture(seed)
    grey, palette = photo.convert("L"), photo.convert("P")
    deep = Image.fromarray(np.asarray(grey) * np.uint16(99))
    plain = b"P2 160 140 255 " + b" ".join(str(value).encode() for value in np.asarray(grey).ravel().tolist())
    return {
        "base.jpg": encoded(photo, "JPEG"), "progressive.jpg": encoded(photo, "JPEG", progressive=True),
        "grey.jpg": encoded(grey, "JPEG"), "cmyk.jpg": encoded(photo.convert("CMYK"), "JPEG"),
        "plain.png": encoded(photo), "palette.png": encoded(palette), "grey.png": encoded(grey),
        "deep.png": encoded(deep), "clear.png": encoded(photo.convert("RGBA")), "raw.pgm": encoded(grey, "PPM"),
        "text.pgm": plain, "deep.pgm": encoded(deep, "PPM"), "colour.ppm": encoded(photo, "PPM"),
        "plain.bmp": encoded(photo, "BMP"), "palette.bmp": encoded(palette, "BMP"),
        "plain.tif": encoded(photo, "TIFF"), "lzw.tif": encoded(photo, "TIFF", compression="tiff_lzw"),
        "deflate.tif": encoded(photo, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": encoded(photo, "TIFF", compression="jpeg"), "fax.tif": encoded(
            photo.convert("1"), "TIFF", compression="group4"),
        "deep.tif": encoded(deep, "TIFF"), "one.gif": encoded(palette, "GIF"), "one.webp": encoded(photo, "WEBP"),
    }  # fmt: skip
