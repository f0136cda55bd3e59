"""Training batches per second: ``python tools/bench.py load [--images 2048] [--batch 64]``.

What the crops' data set gives, kept in memory and in a memory-mapped file, by augmentation preset, against the forward
pass of MobileFaceNet at the same batch size, all in one process and one run: loading must not be the limit. One thread,
and seconds of the CPU, so that other work on the machine changes little. The crops are drawn at random.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.normalize import Normalize
from facexfer.data.augmentation import PRESETS, training_transform
from facexfer.data.crop_store import CropStore
from facexfer.data.crops import CropDataset
from facexfer.data.manifest import FaceImage

SIZE = (112, 112)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.py load", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        images = write_crops(Path(folder), given.images)
        forward = forward_rate(given.batch)
        print(f"batches of {given.batch} in a second of one CPU core")
        print(f"MobileFaceNet, forward alone         {forward:8.2f} batches/s")
        for place in ("memory", "mapped"):
            store = CropStore(images, SIZE, Path(folder) / "cache" if place == "mapped" else None)
            start = time.perf_counter()
            store.load()
            print(f"{place}: {len(images)} crops decoded in {time.perf_counter() - start:.2f} s")
            for preset in sorted(PRESETS) if place == "memory" else ("none", "nir"):
                dataset = CropDataset(images, [0] * len(images), SIZE, training_transform(preset, 0), store=store)
                rate = fastest(partial(list, DataLoader(dataset, given.batch)))
                batches = len(images) / given.batch * rate
                ratio = f"{batches / forward:6.2f} x the forward pass"
                print(f"{place}, preset {preset:12} {batches:18.2f} batches/s = {ratio}")


def write_crops(folder: Path, count: int) -> list[FaceImage]:
    generator = np.random.default_rng(0)
    images = []
    for number in range(count):
        small = generator.integers(0, 256, (14, 14, 3), dtype=np.uint8)
        path = folder / f"{number:06d}.png"
        cv2.imwrite(str(path), cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC))
        images.append(FaceImage(path, "a", "nir", "train"))
    return images


def forward_rate(batch: int) -> float:
    backbone = create_backbone("mobilefacenet").eval().to(memory_format=torch.channels_last)
    pixels = torch.randint(0, 256, (batch, 3, *SIZE), dtype=torch.uint8)
    normalize = Normalize(backbone.info)

    def forward(times: int) -> None:
        with torch.no_grad():
            for _ in range(times):
                backbone(normalize(pixels).contiguous(memory_format=torch.channels_last))

    forward(1)
    return fastest(partial(forward, 5)) * 5


def fastest(work: Callable[[], object], times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return 1 / min(seconds)
