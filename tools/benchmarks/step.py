"""The training step: ``python tools/bench.py step [--network mobilefacenet] [--batch 64] [--rounds 3]``.

One AFA step against plain fine-tuning, CSD, DFA, DELTA, and 8 and 12 attention modules, all in turns in one process;
against the same step in the published way, in its own process, as the allocator's setting is the process's; and what
loading, augmentation and logging add. Weights and images are random: the work is the same. Seconds are the fastest of
the rounds, ratios the median over them; CPU seconds, which other processes disturb less, are given as well. On a GPU
our ways run under bfloat16 autocast; `tools/gpu_campaign.py` measures more there. On a CPU three of them are timed
under it as well (``bf16-mixed``).
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measuring import in_child, peak_megabytes
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from training_steps import StepSetting, batch_of, make_published_way, make_way

from facexfer.backbones import create_backbone
from facexfer.runtime import prepare_cpu

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
OURS = StepSetting(DEVICE, autocast=torch.bfloat16 if DEVICE == "cuda" else None)
PUBLISHED = StepSetting(DEVICE, channels_last=False)
BARS = {"l2": 1.35, "delta": 1.03}
# What is also timed under bfloat16 autocast on a CPU.
HALF = ("l2", "afa", "csd")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.py step", description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="mobilefacenet")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    words = (options.network, options.batch, options.rounds)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{options.network}, batch {options.batch}, {device}, float32, torch {torch.__version__}")
    ours = in_child(__file__, "ours", *words)["ways"]
    for name, rows in ours.items():
        seconds, cpu = (min(row[key] for row in rows) for key in ("seconds", "cpu"))
        print(f"{name:10} {seconds:7.3f} s  {cpu:7.3f} CPU s  {options.batch / seconds:7.1f} images/s")
    for name, bar in BARS.items():
        _print_ratio(f"afa / {name}", ours["afa"], ours[name], f"bar {bar}")
    _print_ratio("csd / l2", ours["csd"], ours["l2"], "bar 1.02")
    for name in HALF:
        if f"{name} bf16" in ours:
            _print_ratio(f"{name} bf16 / {name}", ours[f"{name} bf16"], ours[name], "no bar")
    for name, known in (("afa 8", "paper 1.015"), ("afa 12", "paper 1.02")):
        if name in ours:
            _print_ratio(f"{name} / afa", ours[name], ours["afa"], known)
    # In turns, too, though in processes of their own.
    turns = [(in_child(__file__, "published", *words), in_child(__file__, "afa", *words)) for _ in range(2)]
    published, again = ([row for turn in turns for row in turn[number]["rows"]] for number in range(2))
    _print_ratio("published way / afa", published, again, "bar: at least 1.5")
    peaks = [min(turn[number]["megabytes"] for turn in turns) for number in range(2)]
    print(f"peak memory: afa {peaks[1]:.0f} MB, published way {peaks[0]:.0f} MB")
    peak = in_child(__file__, "peak", *words)
    reached = peak["operations"] / min(row["seconds"] for row in again)
    share = f"{100 * reached / peak['per_second']:.0f} % of a bare {peak['type']} product's"
    print(f"afa: {peak['operations'] / 1e9:.1f} GFLOP a step, {reached / 1e9:.0f} GFLOP/s, {share} (whole step)")
    cpu = min(row["cpu"] for row in again)
    for name, seconds in in_child(__file__, "around", *words).items():
        print(f"{name:28} {seconds:.4f} CPU s = {100 * seconds / cpu:.1f} % of the afa step (bar: all under 10)")


def _print_ratio(name: str, ones: list[dict[str, float]], others: list[dict[str, float]], bar: str) -> None:
    """Print the median of the rounds' ratios, which a disturbed round hardly moves."""
    by_time, by_cpu = (
        statistics.median(one[key] / other[key] for one, other in zip(ones, others, strict=True))
        for key in ("seconds", "cpu")
    )
    print(f"{name:20} {by_time:.3f} by time, {by_cpu:.3f} by CPU time ({bar})")


def measure(
    ways: Mapping[str, Callable[[Tensor, Tensor], object]], batch: tuple[Tensor, Tensor], rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Time the ways in turns; the first round warms up."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, step in ways.items():
            start, cpu = time.perf_counter(), time.process_time()
            step(*batch)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
            if number:
                rows[name].append(taken)
    return rows


def count_and_peak(network: str, batch: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Count an AFA step's floating-point operations, and measure a bare matrix product: bfloat16 on a GPU."""
    step = make_way(network, "afa", OURS)
    with FlopCounterMode(display=False) as counter:
        step(*batch)
    on_gpu = torch.cuda.is_available()
    side, dtype, device = (8192, torch.bfloat16, "cuda") if on_gpu else (2048, torch.float32, "cpu")
    square = torch.randn(side, side, device=device, dtype=dtype)
    (rows,) = measure({"product": lambda *_: torch.mm(square, square)}, batch, 5).values()
    per_second = 2 * side**3 / min(row["seconds"] for row in rows)
    return {"operations": counter.get_total_flops(), "per_second": per_second, "type": str(dtype).split(".")[1]}


def around_the_step(size: int, rounds: int) -> dict[str, float]:
    """CPU seconds per step of loading with augmentation, and of one log line every ten steps."""
    from torch.utils.tensorboard import SummaryWriter

    from facexfer.data.augmentation import training_transform
    from facexfer.data.crops import CropDataset
    from facexfer.data.manifest import FaceImage
    from facexfer.engine.loss_log import LossWindow
    from facexfer.runs.folder import RunFolder

    taken = {}
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        rows = []
        for number in range(size):
            path = Path(folder) / f"{number}.png"
            cv2.imwrite(str(path), generator.integers(0, 256, (112, 112, 3), dtype=np.uint8))
            rows.append(FaceImage(path=path, identity=str(number), modality="nir", split="train"))
        for preset in ("flip", "nir"):
            images = CropDataset(rows, [0] * size, (112, 112), training_transform(preset, 0))
            images.set_epoch(0)
            seconds = []
            for _ in range(rounds):
                start = time.process_time()
                torch.stack([images[index][0] for index in range(size)])
                seconds.append(time.process_time() - start)
            taken[f"loading and '{preset}'"] = min(seconds)
        window, run = LossWindow("ast"), RunFolder(Path(folder))
        with SummaryWriter(folder) as writer:
            start = time.process_time()
            for step in range(1, 101):
                window.add(step, 0.01, {"classification": torch.tensor(1.0), "spatial": torch.tensor(1.0)})
                if step % 10 == 0:
                    record = window.summarise("no checkpoint", lambda values: values)
                    run.log({"step": step, **record})
                    for name, value in record["losses"].items():
                        writer.add_scalar(name, value, step)
            taken["logging"] = (time.process_time() - start) / 100
    return taken


def child(case: str, network: str, size: int, rounds: int) -> None:
    if case != "published":
        prepare_cpu()
    if case == "around":
        print(json.dumps(around_the_step(size, rounds)))
        return
    batch = batch_of(size, PUBLISHED if case == "published" else OURS, network)
    if case == "peak":
        print(json.dumps(count_and_peak(network, batch)))
    elif case in ("published", "afa"):
        step = make_published_way(network, PUBLISHED) if case == "published" else make_way(network, "afa", OURS)
        (rows,) = measure({case: step}, batch, rounds).values()
        on_gpu = torch.cuda.is_available()
        print(
            json.dumps(
                {
                    "rows": rows,
                    "megabytes": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else peak_megabytes(),
                }
            )
        )
    else:
        ways = {name: make_way(network, name, OURS) for name in ("l2", "dfa", "delta", "afa", "csd")}
        for taps in (8, 12):
            if taps <= len(create_backbone(network).info.blocks):
                ways[f"afa {taps}"] = make_way(network, "afa", OURS, taps=taps)
        if DEVICE == "cpu":
            half = replace(OURS, autocast=torch.bfloat16)
            ways |= {f"{name} bf16": make_way(network, name, half) for name in HALF}
        print(json.dumps({"ways": measure(ways, batch, rounds)}))


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
