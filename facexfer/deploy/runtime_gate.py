"""The gate of each runtime's file: the same questions as of the ONNX file, and on which one a machine is fastest."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.backbones.parts.info import BackboneModule
from facexfer.data.images import read_crop
from facexfer.deploy.gate import (
    BATCHES,
    Cost,
    GateData,
    Latency,
    Tolerance,
    is_usable,
    make_row,
    milliseconds,
    one_call,
)
from facexfer.deploy.onnx_export import PixelsToEmbedding
from facexfer.deploy.quantize import MEASURED_IMAGES, rounding_noise, write_precision
from facexfer.deploy.runtime_files import RuntimeFile
from facexfer.deploy.runtimes import Choice, Original
from facexfer.deploy.runtimes.peak import peak_megabytes
from facexfer.deploy.score_summary import summary_of
from facexfer.errors import InputError
from facexfer.eval.collect import curve_of_pairs
from facexfer.eval.scores import operating_points
from facexfer.measure.embedder import Embedder
from facexfer.measure.pair_sets import Comparison

_THREADS = (None, 1)
_TURNS, _CALLS = 5, 4


def make_original(
    network: BackboneModule, onnx: Path, batch: int | None, flip: bool, calibration: Callable[[], np.ndarray]
) -> Original:
    """Gather what the runtimes convert from.

    Args:
        network: The run's; it is put into eval mode on the CPU.
        onnx: The same as an ONNX file in float32.
        batch: A fixed number of images, or None.
        flip: Whether the file adds the embedding of the mirrored image.
        calibration: Gives training crops (N, H, W, 3) uint8 RGB.
    """
    return Original(
        PixelsToEmbedding(network.cpu(), flip).eval(),
        network.info.input_size,
        onnx,
        batch,
        calibration,
        lambda precision, file: write_precision(precision, onnx, file, calibration),
        lambda: rounding_noise(onnx, calibration()[:MEASURED_IMAGES]),
        flip,
    )


def convert_all(choices: Sequence[Choice], original: Original, folder: Path, crop: Path) -> list[RuntimeFile]:
    """Convert a network for runtimes, and let each that can run here embed a crop.

    Args:
        choices: The runtimes and the precisions.
        original: The network.
        folder: Where to write.
        crop: An image of the network's input size.

    Raises:
        InputError: If a library is missing, the network cannot be converted, or the file does not run; of all runtimes
            at once, so that nobody measures for minutes before the next one fails.
    """
    files, refusals = [], {}
    for choice in choices:
        try:
            files.append(convert(choice, original, folder))
            if not choice.runtime.on_device:
                files[-1].open(folder, original.input_size).embed(read_crop(crop, original.input_size)[None])
        except InputError as error:
            refusals[choice.name] = str(error)
    if len(refusals) > 1:
        raise InputError("; ".join(f"{name}: {why}" for name, why in refusals.items()))
    if refusals:
        raise InputError(*refusals.values())
    return files


def convert(choice: Choice, original: Original, folder: Path) -> RuntimeFile:
    """Convert a network for a runtime.

    Args:
        choice: The runtime and the precision.
        original: The network.
        folder: Where to write.

    Raises:
        InputError: If the library is missing or the network cannot be converted.
    """
    files = choice.runtime.convert(original, folder, choice.precision)
    batch = original.batch or choice.runtime.fixed_batch
    return RuntimeFile(choice.runtime.name, choice.precision, files, batch, input_size=original.input_size)


def measure_runtime(
    file: RuntimeFile,
    folder: Path,
    run: Comparison,
    data: GateData,
    tolerance: Tolerance,
    input_size: tuple[int, int],
) -> RuntimeFile:
    """Compare a runtime's file with the run, as `facexfer.deploy.gate.measure` does for the ONNX file.

    Args:
        file: As `convert` wrote it.
        folder: Where its files lie.
        run: The run's own comparison.
        data: On which that is.
        tolerance: What is allowed.
        input_size: (height, width) of the crops in pixels.

    Returns:
        The same with what was measured; as it came, for a runtime that cannot run here.
    """
    if file.choice.runtime.on_device:
        return file
    got = data.compare(file.open(folder, input_size))
    megabytes = sum((folder / name).stat().st_size for name in file.files) / 1e6
    latencies = runtime_latencies(file, folder, data.crop, input_size)
    cost = Cost(megabytes, latencies, peak_megabytes(file.name, folder, file.files, input_size, file.batch))
    row = make_row(file.name, cost, run, got, data.fars, tolerance)
    if not is_usable(got):
        return replace(file, row=row)
    pairs = got.pairs()
    points = operating_points(pairs, data.fars)
    thresholds = tuple((point.far, point.threshold) for point in points if point.threshold is not None)
    return replace(file, row=row, thresholds=thresholds, scores=summary_of(pairs, curve_of_pairs(pairs), points))


def runtime_latencies(file: RuntimeFile, folder: Path, crop: Path, input_size: tuple[int, int]) -> tuple[Latency, ...]:
    """Time a runtime's file with 1 and with 32 crops, on as many threads as its library likes and on one.

    Args:
        file: One that can run here.
        folder: Where its files lie.
        crop: An image of its input size.
        input_size: (height, width) of the crops in pixels.
    """
    image = read_crop(crop, input_size)
    found = []
    for threads in _THREADS:
        embedder = file.open(folder, input_size, threads)
        found += [Latency(file.runtime, batch, milliseconds(embedder, image, batch), threads) for batch in BATCHES]
    return tuple(found)


def recommendation(embedders: Mapping[str, Embedder], crop: Path) -> dict[str, Any]:
    """Which file to ship to a machine like this one: the one that embeds one crop fastest.

    They are timed in turns, and of each its fastest call counts, so that what else the machine does meets all of them.

    Args:
        embedders: What passed, by runtime and precision such as ``openvino:bf16``, each on as many threads as its
            library likes.
        crop: An image of their input size.

    Returns:
        The runtime and the precision, its milliseconds for one crop, and those of all of them.
    """
    times = dict.fromkeys(embedders, math.inf)
    crops = {name: read_crop(crop, embedder.input_size)[None] for name, embedder in embedders.items()}
    for _ in range(_TURNS):
        for name, embedder in embedders.items():
            times[name] = min(times[name], *(one_call(embedder, crops[name]) for _ in range(_CALLS)))
    best = min(times, key=lambda name: times[name])
    runtime, _, precision = best.partition(":")
    return {"runtime": runtime, "precision": precision, "milliseconds": times[best], "milliseconds_of_all": times}
