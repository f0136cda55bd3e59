"""A tiny face set made in the test: coloured patterns in the place of people, enough for a run to run."""

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def write_small_set(
    folder: Path,
    train: int = 4,
    val: int = 3,
    images: int = 4,
    modalities: Sequence[str] = ("nir", "vis"),
    size: int = 112,
) -> Path:
    """Write crops and a manifest, and give the manifest's path."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(train + val):
        identity = f"p{number}"
        pattern = generator.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        for modality in modalities:
            (folder / modality / identity).mkdir(parents=True)
            for index in range(images):
                noisy = np.clip(pattern.astype(int) + generator.integers(-20, 20, pattern.shape), 0, 255)
                image = cv2.resize(noisy.astype(np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
                path = f"{modality}/{identity}/{index}.png"
                cv2.imwrite(str(folder / path), image)
                split = "train" if number < train else "val"
                rows.append([path, identity, modality, split, f"{identity}/{index}"])
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "identity", "modality", "split", "capture"])
        writer.writerows(rows)
    return folder / "images.csv"
