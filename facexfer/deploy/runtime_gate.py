"""The gate of each runtime's file: the same questions as of the ONNX file, and on which one a machine is fastest."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.backbones.parts.info import BackboneModule
from facexfer.data.images import read_crop
from facexfer.deploy.gate import BATCHES, Cost, GateData, GateRow, Latency, Tolerance, make_row, milliseconds
from facexfer.deploy.onnx_export import PixelsToEmbedding
from facexfer.deploy.quantize import MEASURED_IMAGES, rounding_noise, write_precision
from facexfer.deploy.runtime_files import RuntimeFile
from facexfer.deploy.runtimes import Choice, Original
from facexfer.deploy.runtimes.peak import peak_megabytes
from facexfer.measure.pair_sets import Comparison

_THREADS = (None, 1)


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
    return RuntimeFile(choice.runtime.name, choice.precision, files, batch)


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
    return replace(file, row=make_row(file.name, cost, run, got, data.fars, tolerance))


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


def recommendation(rows: Sequence[GateRow]) -> dict[str, Any]:
    """Which file to ship to a machine like this one: of those that passed, the one that embeds one crop fastest.

    Args:
        rows: At least one, each measured with one crop and as many threads as the library likes.

    Returns:
        Its runtime and precision, its milliseconds for one crop, and those of all the others.
    """
    times = {_name(row): _one_crop(row) for row in rows}
    best = min(times, key=lambda name: times[name])
    runtime, _, precision = best.partition(":")
    return {"runtime": runtime, "precision": precision, "milliseconds": times[best], "milliseconds_of_all": times}


def _name(row: GateRow) -> str:
    return row.precision if ":" in row.precision else f"onnxruntime:{row.precision}"


def _one_crop(row: GateRow) -> float:
    return next(each.milliseconds for each in row.latencies if each.batch == 1 and each.threads is None)
