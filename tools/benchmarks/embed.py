"""Milliseconds a crop: ``python tools/bench.py embed [--run RUN] [--batch 1 4 32] [--threads 1 2]``.

Every installed runtime in each of its precisions, torch as it is and compiled, and InsightFace's
``ArcFaceONNX.get_feat`` embed the same uint8 crops with the same weights, in one process and by turns, call by call.
Shown are each way's fastest call, which other work on the machine hardly changes, and its median. The weights are a
run's, or random ones of ``--network``; 8 bits are calibrated on the run's training crops, or on random ones. Whether a
file embeds well is the gate's question, not this one's.
"""

import argparse
import copy
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.data.manifest import read_manifest
from facexfer.deploy.calibration import calibration_crops
from facexfer.deploy.onnx_export import export_onnx
from facexfer.deploy.runtime_files import RuntimeFile
from facexfer.deploy.runtime_gate import convert, make_original
from facexfer.deploy.runtimes import RUNTIMES, Choice
from facexfer.errors import InputError
from facexfer.measure.providers import CPU
from facexfer.recipe import read_recipe
from facexfer.runs.face_images import training_and_validation
from facexfer.runs.folder import RunFolder, load_backbone
from facexfer.runtime import prepare_cpu

OURS = "onnxruntime:fp32"
Way = Callable[[np.ndarray], object]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.py embed", description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="mobilefacenet", help="with random weights, where no run is given")
    parser.add_argument("--run", type=Path, help="a run on faces")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 4, 32])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--calls", type=int, default=30, help="of each way, batch and number of threads, at most")
    parser.add_argument("--seconds", type=float, default=60, help="for each batch and number of threads, at most")
    given = parser.parse_args(arguments)
    prepare_cpu()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    backbone = create_backbone(given.network) if given.run is None else load_backbone(given.run)
    size = backbone.info.input_size
    crops = make_crops(32, size) if given.run is None else training_crops(given.run, size)
    with tempfile.TemporaryDirectory() as place:
        files = list(convert_all(backbone.eval(), crops, Path(place)))
        for threads in given.threads:
            ways = make_ways(backbone, files, Path(place), threads)
            found = {
                batch: measure(ways, np.resize(crops, (batch, *crops.shape[1:])), given.calls, given.seconds)
                for batch in given.batch
            }
            show(f"{backbone.info.name}, threads: {threads}", found)


def training_crops(run: Path, size: tuple[int, int]) -> np.ndarray:
    recipe = read_recipe(RunFolder(run).recipe_file)
    if recipe.data.manifest is None:
        raise InputError(f"{run}: expected a run on faces, got task '{recipe.task}'; leave --run out")
    training, _ = training_and_validation(read_manifest(recipe.data.manifest), recipe.data)
    return calibration_crops(training, size)


def make_crops(count: int, size: tuple[int, int]) -> np.ndarray:
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (count, 14, 14, 3), dtype=np.uint8)
    return np.stack([cv2.resize(each, size[::-1], interpolation=cv2.INTER_CUBIC) for each in small])


def convert_all(backbone: BackboneModule, crops: np.ndarray, folder: Path) -> Iterator[RuntimeFile]:
    """Convert for each runtime and precision, one folder each; what is not available here is printed."""
    export_onnx(backbone, folder / "fp32.onnx")
    original = make_original(backbone, folder / "fp32.onnx", None, False, lambda: crops)
    for runtime in RUNTIMES.values():
        for precision in runtime.precisions if not runtime.on_device else ():
            choice = Choice(runtime, precision)
            (folder / choice.name).mkdir()
            try:
                yield convert(choice, original, folder / choice.name)
            except InputError as error:
                print(f"{choice.name} left out: {error}", flush=True)


def make_ways(backbone: BackboneModule, files: list[RuntimeFile], folder: Path, threads: int) -> dict[str, Way]:
    import onnxruntime
    from insightface.model_zoo import model_zoo

    ways: dict[str, Way] = {
        file.name: file.open(folder / file.name, backbone.info.input_size, threads).embed for file in files
    }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    insightface = model_zoo.get_model(str(folder / "fp32.onnx"), providers=[CPU], sess_options=options)
    ways["insightface get_feat"] = lambda crops: insightface.get_feat([crop[:, :, ::-1] for crop in crops])
    torch.set_num_threads(threads)
    torch.compiler.reset()
    network = copy.deepcopy(backbone)
    last = copy.deepcopy(backbone).to(memory_format=torch.channels_last)
    ways["torch eager"] = by_torch(network, backbone, torch.contiguous_format)
    ways["torch channels_last"] = by_torch(last, backbone, torch.channels_last)
    ways["torch compiled"] = by_torch(torch.compile(network), backbone, torch.contiguous_format)
    return ways


def by_torch(network: Callable[[torch.Tensor], torch.Tensor], of: BackboneModule, memory: torch.memory_format) -> Way:
    normalize = Normalize(of.info)

    def embed(crops: np.ndarray) -> object:
        with torch.no_grad():
            images = normalize(torch.from_numpy(crops).permute(0, 3, 1, 2))
            return network(images.contiguous(memory_format=memory)).numpy()

    return embed


def measure(ways: Mapping[str, Way], crops: np.ndarray, calls: int, seconds: float) -> dict[str, list[float]]:
    """Time calls by turns, after one of each that is not counted; milliseconds a crop."""
    for embed in ways.values():
        embed(crops)
    found: dict[str, list[float]] = {name: [] for name in ways}
    end = time.perf_counter() + seconds
    for turn in range(calls):
        # Each turn begins with another way, so that none is always first after the slowest.
        names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        for name in names:
            start = time.perf_counter()
            ways[name](crops)
            found[name].append(1000 * (time.perf_counter() - start) / len(crops))
        if time.perf_counter() > end:
            break
    return found


def show(title: str, found: Mapping[int, Mapping[str, list[float]]]) -> None:
    print(f"\n{title}; milliseconds a crop: the fastest call (the median); times as fast as {OURS}\n", flush=True)
    print("| | " + " | ".join(f"batch {batch}" for batch in found) + " |")
    print("|---" * (len(found) + 1) + "|")
    for name in next(iter(found.values())):
        cells = [
            f"{min(times[name]):.2f} ({statistics.median(times[name]):.2f}), {min(times[OURS]) / min(times[name]):.2f}"
            for times in found.values()
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
