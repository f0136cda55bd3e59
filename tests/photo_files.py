"""Photos made in a test: a drawn scene with five known points, in any file format."""

import csv
import io

import numpy as np
from PIL import Image

from facexfer.data.preparation.align import template

POINTS = template() * 0.8 + (30, 20)


def picture(seed=0, size=(160, 140)):
    """Draw (width, height) smooth noise with the contrast of a photo."""
    generator = np.random.default_rng(seed)
    cells = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    return cells.resize(size, Image.Resampling.BICUBIC)


def encoded(image, form="PNG", **options):
    """Give the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def write_photos(root, people=3, photos=4, form="PNG"):
    """Write a folder per identity and beside it a CSV of landmarks, and give the CSV's path."""
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
