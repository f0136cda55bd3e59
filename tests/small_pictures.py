"""A tiny picture set made in the test, folder per class: noise, enough for a run to run."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def write_pictures(
    folder: Path, train: int = 4, val: int = 2, classes: Sequence[str] = ("ants", "bees"), size: int = 48
) -> Path:
    """Write pictures in the folders train and val, and give the folder."""
    generator = np.random.default_rng(0)
    for part, count in (("train", train), ("val", val)):
        for name in classes:
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                picture = generator.integers(0, 255, (size, size, 3), np.uint8)
                cv2.imwrite(str(folder / part / name / f"{index}.png"), picture)
    return folder
