"""The gate of an export: is the file what was measured?"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facexfer.data.images import read_crop
from facexfer.data.manifest import Manifest
from facexfer.errors import RunError
from facexfer.eval.paired import Difference
from facexfer.tasks.embedder import Embedder, OnnxEmbedder
from facexfer.tasks.questions import before_and_after
from facexfer.tasks.verification import Comparison, compare

LARGEST_DIFFERENCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.5, "int8-dynamic": 0.5}
"""By precision: how far unit embeddings of real crops may be from the run's, as the largest coordinate."""
LARGEST_LOSS = 0.01
"""How much TAR may be lost at any supported FAR, as a fraction."""
_TIMED = 10


@dataclass(frozen=True)
class GateRow:
    """What the gate measured of one file.

    Attributes:
        precision: fp32, fp16, int8 or int8-dynamic.
        megabytes: Of the file.
        milliseconds: Median of one call on a CPU with 1 and with 32 images; None where the batch is fixed.
        difference: Largest coordinate by which unit embeddings differ from the run's.
        differences: TAR of the file minus that of the run, by FAR; None where the data does not support it.
    """

    precision: str
    megabytes: float
    milliseconds: tuple[float, float]
    difference: float
    differences: tuple[Difference | None, ...]

    def check(self) -> None:
        """Refuse a file that is worse than the tolerance.

        Raises:
            RunError: With the reason.
        """
        limit = LARGEST_DIFFERENCE[self.precision]
        # Written so that NaN is refused too.
        if not self.difference <= limit:
            raise RunError(
                f"expected {self.precision} embeddings within {limit:g} of the run's, got {self.difference:.2g}; "
                "there is no bundle"
            )
        for each in self.differences:
            if each is not None and each.difference < -LARGEST_LOSS:
                raise RunError(
                    f"expected {self.precision} to lose at most {100 * LARGEST_LOSS:g} points of TAR, it loses "
                    f"{-100 * each.difference:.2f} at FAR {each.far:g}; there is no bundle"
                )


def measure(
    precision: str, file: Path, run: Comparison, images: Manifest, fars: Sequence[float]
) -> tuple[GateRow, Comparison]:
    """Measure a file on the images on which the run was measured.

    Args:
        precision: Of the file.
        file: The ONNX file.
        run: The run's own comparison.
        images: The manifest's images, of one split.
        fars: The targets.

    Returns:
        The row, and the file's comparison.
    """
    embedder = OnnxEmbedder(file)
    probe, gallery = _modalities(run.name)
    got = compare(embedder, images, probe, gallery)
    crop = read_crop(images.images[0].path, embedder.input_size)
    return GateRow(
        precision,
        file.stat().st_size / 1e6,
        (_milliseconds(embedder, crop, 1), _milliseconds(embedder, crop, 32)),
        float(np.abs(_units(got.probe.embeddings) - _units(run.probe.embeddings)).max()),
        before_and_after(run, got, fars).differences,
    ), got


def _modalities(name: str) -> tuple[str | None, str | None]:
    gallery, _, probe = name.rpartition("-") if name.startswith("vis-") else ("", "", name)
    return (None if probe == "all" else probe), (gallery or None)


def _milliseconds(embedder: Embedder, crop: np.ndarray, batch: int) -> float:
    crops = np.repeat(crop[None], batch, axis=0)
    embedder.embed(crops)
    times = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        embedder.embed(crops)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def _units(embeddings: np.ndarray) -> np.ndarray:
    units: np.ndarray = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return units
