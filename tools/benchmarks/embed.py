"""Images embedded per second: ``python tools/bench.py embed [--network mobilefacenet] [--batch 1 32] [--rounds 7]``.

One exported file by our embedder and by InsightFace's ``ArcFaceONNX.get_feat``, its network by torch (as it is, and in
channels_last), and its 8-bit and half-precision forms by our embedder. All ways start from the same uint8 crops, in
one process, by turns, round by round, with 1 and with 32 crops at a time; the median round counts, beside it the time
of all threads together, which other work on the machine hardly changes. On the CPU, with one thread per core.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.deploy.onnx_export import export_onnx
from facexfer.deploy.quantize import write_half, write_int8_dynamic, write_int8_static
from facexfer.measure.embedder import OnnxEmbedder
from facexfer.measure.providers import CPU
from facexfer.runtime import prepare_cpu

OURS = "ours, fp32"
Way = Callable[[np.ndarray], object]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.py embed", description=__doc__.splitlines()[0])
    parser.add_argument("--network", nargs="+", default=["mobilefacenet", "lresnet34e_ir"])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--images", type=int, default=64, help="a way and round")
    given = parser.parse_args(arguments)
    prepare_cpu()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for name in given.network:
        backbone = create_backbone(name, weights=given.weights).eval()
        with tempfile.TemporaryDirectory() as folder:
            ways = make_ways(backbone, Path(folder))
            for batch in given.batch:
                crops = make_crops(given.images, backbone.info.input_size)
                show(name, batch, given.images, measure(ways, batch, crops, given.rounds))


def make_ways(backbone: BackboneModule, folder: Path) -> dict[str, Way]:
    from insightface.model_zoo import model_zoo

    exported = folder / "fp32.onnx"
    export_onnx(backbone, exported)
    smooth = make_crops(32, backbone.info.input_size)
    write_half(exported, folder / "fp16.onnx")
    write_int8_static(exported, folder / "int8.onnx", smooth)
    write_int8_dynamic(exported, folder / "int8-dynamic.onnx")
    insightface = model_zoo.get_model(str(exported), providers=[CPU])
    normalize = Normalize(backbone.info)
    lasting = {memory: backbone_in(backbone, memory) for memory in (torch.contiguous_format, torch.channels_last)}

    def by_torch(memory: torch.memory_format) -> Way:
        def embed(crops: np.ndarray) -> object:
            with torch.no_grad():
                images = normalize(torch.from_numpy(crops).permute(0, 3, 1, 2))
                return lasting[memory](images.contiguous(memory_format=memory)).numpy()

        return embed

    return {
        OURS: OnnxEmbedder(exported, CPU).embed,
        "insightface get_feat": lambda crops: insightface.get_feat([crop[:, :, ::-1] for crop in crops]),
        "torch eager": by_torch(torch.contiguous_format),
        "torch channels_last": by_torch(torch.channels_last),
        "ours, fp16": OnnxEmbedder(folder / "fp16.onnx", CPU).embed,
        "ours, int8": OnnxEmbedder(folder / "int8.onnx", CPU).embed,
        "ours, int8-dynamic": OnnxEmbedder(folder / "int8-dynamic.onnx", CPU).embed,
    }


def backbone_in(backbone: BackboneModule, memory: torch.memory_format) -> BackboneModule:
    copy = create_backbone(backbone.info.name).eval()
    copy.load_state_dict(backbone.state_dict())
    return copy.to(memory_format=memory)


def make_crops(count: int, size: tuple[int, int]) -> np.ndarray:
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (count, 14, 14, 3), dtype=np.uint8)
    return np.stack([cv2.resize(each, size[::-1], interpolation=cv2.INTER_CUBIC) for each in small])


def measure(ways: dict[str, Way], batch: int, crops: np.ndarray, rounds: int) -> dict[str, list[tuple[float, float]]]:
    parts = [crops[start : start + batch] for start in range(0, len(crops), batch)]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        # Each round begins with another way, so that none is always first after the slowest.
        names = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        for name in names:
            start, used = time.perf_counter(), time.process_time()
            for part in parts:
                ways[name](part)
            seconds = time.perf_counter() - start, time.process_time() - used
            if number:
                found[name].append(seconds)
    return found


def show(network: str, batch: int, images: int, found: dict[str, list[tuple[float, float]]]) -> None:
    rates = {name: images / statistics.median(wall for wall, _ in times) for name, times in found.items()}
    for name, times in found.items():
        milliseconds = 1000 * statistics.median(used for _, used in times) / images
        ratio = statistics.median(mine / other for (mine, _), (other, _) in zip(times, found[OURS], strict=True))
        print(
            f"{network}, batch {batch:2}: {name:21} {rates[name]:7.1f} images/s, {milliseconds:6.2f} ms of CPU an "
            f"image, {ratio:5.2f} x the time of {OURS}",
            flush=True,
        )


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
