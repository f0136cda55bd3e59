"""The gate of an export: is the file what was measured?"""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facexfer.data.images import read_crop
from facexfer.data.manifest import Manifest
from facexfer.deploy.runtimes.peak import peak_megabytes
from facexfer.eval.paired import Difference
from facexfer.eval.unit_length import unit_length
from facexfer.measure.embedder import Embedder, OnnxEmbedder
from facexfer.measure.pair_sets import Comparison, compare
from facexfer.measure.providers import CPU, CUDA, working_provider
from facexfer.measure.questions import before_and_after
from facexfer.recipe import PairsSection

BATCHES = (1, 32)
"""How many images a call takes where it is timed."""
_TIMED, _TIMED_MILLISECONDS = 10, 1000
# Differences of fractions are not exact in binary.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Tolerance:
    """How much worse than its run a file may be.

    Attributes:
        difference: Largest distance between a crop's two unit embeddings. A score, the product of two of them, then
            moves by twice that at the most.
        loss: TAR that may be lost at any supported FAR, as a fraction.
    """

    difference: float
    loss: float


TOLERANCES = {
    # The order of float32 sums differs, which shows in the sixth digit; 1e-4 leaves room for deeper networks and moves
    # a score by 2e-4 at the most. TAR: the tolerance of verify-bundle.
    "fp32": Tolerance(1e-4, 0.001),
    # Half precision rounds to 2^-11 of a number; over the 50 to 200 layers of a network, rounding at random, that is
    # 2^-11 sqrt(50) = 0.0035 to 2^-11 sqrt(200) = 0.007.
    "fp16": Tolerance(1e-2, 0.001),
    # Eight bits of mantissa: as for fp16, with 2^-8.
    "bf16": Tolerance(6e-2, 0.003),
    # Embeddings of two people are sqrt(2) = 1.4 apart, those of one person at a threshold of 0.42 (FAR 1e-4 in
    # RESULTS.md) 1.1. A quarter of that is where 8 bits begin to tell people apart by themselves; MobileFaceNet has
    # 0.17 with its loud maps in float32, and 0.88 without, with 4 to 18 points of TAR less.
    "int8": Tolerance(0.25, 0.01),
    "int8-bf16": Tolerance(0.25, 0.01),
    "int8-dynamic": Tolerance(0.25, 0.01),
}
"""By precision."""


@dataclass(frozen=True)
class GateData:
    """What every file is measured on.

    Attributes:
        images: The manifest's images, of one split.
        pairs: The modalities that are compared.
        fars: The targets.
        gallery: Embeds the gallery where that has a network of its own, or None.
    """

    images: Manifest
    pairs: PairsSection
    fars: Sequence[float]
    gallery: Embedder | None = None

    @property
    def crop(self) -> Path:
        """An image to time files with."""
        return self.images.images[0].path

    def compare(self, embedder: Embedder) -> Comparison:
        """Embed the images."""
        return compare(embedder, self.images, self.pairs.probe, self.pairs.gallery, self.gallery)


@dataclass(frozen=True)
class Latency:
    """How long one call takes.

    Attributes:
        provider: Of onnxruntime, or the runtime.
        batch: Images in the call.
        milliseconds: Median of ten calls, or as many as a second holds, with the crops as bytes going in.
        threads: How many; None for as many as the library likes.
    """

    provider: str
    batch: int
    milliseconds: float
    threads: int | None = None


@dataclass(frozen=True)
class GateRow:
    """What the gate measured of one file.

    Attributes:
        precision: fp32, fp16, int8 or int8-dynamic; with its runtime before a colon, for another than ``model.onnx``.
        megabytes: Of the file.
        latencies: With 1 and with 32 images on the CPU, on all threads and on one, and on a GPU where onnxruntime can
            use one; a file with a fixed batch takes 32 images in several calls, or fills one up.
        difference: Largest distance between the run's and the file's unit embeddings of a crop, over all crops; NaN
            where the file's are not usable.
        differences: TAR of the file minus that of the run, by FAR; None where the data does not support it. Empty where
            the file's embeddings are not usable.
        tolerance: What was allowed.
        peak_megabytes: Peak resident memory of a process that embeds one crop at a time.
    """

    precision: str
    megabytes: float
    latencies: tuple[Latency, ...]
    difference: float
    differences: tuple[Difference | None, ...]
    tolerance: Tolerance
    peak_megabytes: float

    @property
    def embeds_otherwise(self) -> bool:
        """Whether the embeddings are further from the run's than allowed, or not usable."""
        # Written so that NaN is refused too.
        return not self.difference <= self.tolerance.difference

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the file is refused; empty where it passes."""
        found = []
        if self.embeds_otherwise:
            found.append(
                f"expected {self.precision} embeddings within {self.tolerance.difference:g} of the run's, got "
                f"{self.difference:.2g}"
            )
        found += [
            f"expected {self.precision} to lose at most {100 * self.tolerance.loss:g} points of TAR, it loses "
            f"{-100 * each.difference:.2f} at FAR {each.far:g}"
            for each in self.differences
            if each is not None and not -each.difference <= self.tolerance.loss + ROUNDING
        ]
        return tuple(found)


@dataclass(frozen=True)
class Cost:
    """What a file takes: the like-named attributes of `GateRow`."""

    megabytes: float
    latencies: tuple[Latency, ...]
    peak_megabytes: float


def measure(
    precision: str,
    file: Path,
    run: Comparison,
    data: GateData,
    tolerance: Tolerance,
) -> tuple[GateRow, Comparison]:
    """Measure a file on the images on which the run was measured.

    Args:
        precision: Of the file.
        file: The ONNX file.
        run: The run's own comparison.
        data: On which that is.
        tolerance: What is allowed.

    Returns:
        The row, and the file's comparison.
    """
    embedder = OnnxEmbedder(file)
    got = data.compare(embedder)
    cost = Cost(
        file.stat().st_size / 1e6,
        measure_latencies(file, data.crop),
        peak_megabytes(f"onnxruntime:{precision}", file.parent, [file.name], embedder.input_size, embedder.fixed_batch),
    )
    return make_row(precision, cost, run, got, data.fars, tolerance), got


def make_row(
    name: str, cost: Cost, run: Comparison, got: Comparison, fars: Sequence[float], tolerance: Tolerance
) -> GateRow:
    """Compare the embeddings that a file computes with the run's.

    Args:
        name: As `GateRow.precision`.
        cost: Of the file.
        run: The run's own comparison.
        got: The file's, on the same images.
        fars: The targets.
        tolerance: What is allowed.
    """
    # Embeddings without a direction have no scores; a distance of NaN is refused by the file's name.
    usable = is_usable(got)
    differences = before_and_after(run, got, fars).differences if usable else ()
    distance = largest_distance(run, got) if usable else math.nan
    return GateRow(name, cost.megabytes, cost.latencies, distance, differences, tolerance, cost.peak_megabytes)


def measure_latencies(file: Path, crop: Path) -> tuple[Latency, ...]:
    """Time a file on the CPU, on all threads and on one, and on a GPU where onnxruntime can use one.

    Args:
        file: The ONNX file.
        crop: An image of its input size.

    Returns:
        One entry for each way and for a batch of 1 and of 32.
    """
    ways: list[tuple[str, int | None]] = [(CPU, None), (CPU, 1)]
    if working_provider() != CPU:
        ways.append((CUDA, None))
    found = []
    for provider, threads in ways:
        embedder = OnnxEmbedder(file, provider, threads)
        image = read_crop(crop, embedder.input_size)
        found += [Latency(provider, batch, milliseconds(embedder, image, batch), threads) for batch in BATCHES]
    return tuple(found)


def is_usable(comparison: Comparison) -> bool:
    """Whether all embeddings, in the probes and in the gallery, are finite and of positive length."""
    sides = [side for side in (comparison.probe, comparison.gallery) if side is not None]
    lengths = np.concatenate([np.linalg.norm(side.embeddings.astype(np.float64), axis=1) for side in sides])
    return bool((np.isfinite(lengths) & (lengths > 0)).all())


def largest_distance(first: Comparison, second: Comparison) -> float:
    """The largest distance between the two unit embeddings of an image, in the probes and in the gallery."""
    sides = [(first.probe, second.probe)]
    if first.gallery is not None and second.gallery is not None:
        sides.append((first.gallery, second.gallery))
    units = [[unit_length(side.embeddings) for side in pair] for pair in sides]
    return max(float(np.linalg.norm(one - other, axis=1).max()) for one, other in units)


def milliseconds(embedder: Embedder, crop: np.ndarray, batch: int) -> float:
    """Time a call: the median of ten, or of as many as a second holds.

    Args:
        embedder: What is timed; one call goes before.
        crop: (H, W, 3) uint8 RGB.
        batch: How often it is in the call.
    """
    crops = np.repeat(crop[None], batch, axis=0)
    embedder.embed(crops)
    times: list[float] = []
    while len(times) < _TIMED and sum(times) < _TIMED_MILLISECONDS:
        times.append(one_call(embedder, crops))
    return statistics.median(times)


def one_call(embedder: Embedder, crops: np.ndarray) -> float:
    """Time one call on crops (N, H, W, 3) uint8 RGB, in milliseconds."""
    start = time.perf_counter()
    embedder.embed(crops)
    return 1000 * (time.perf_counter() - start)
