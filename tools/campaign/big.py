"""Phase big: exact TAR at FAR over all pairs against the bare product of the same blocks, on the same card."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from campaign.fast import use_tf32, wait
from campaign.record import Figure, Record
from torch import Tensor

from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import all_pairs, gallery_probe_pairs

PHASE = "big"
_DIMENSION = 512
# Those of the paper, and everyday ones.
_FARS = {"1e-5 to 1e-7": (1e-5, 1e-6, 1e-7), "1e-3 to 1e-6": (1e-3, 1e-4, 1e-5, 1e-6)}


def run(record: Record) -> None:
    """Measure in order of value."""
    use_tf32(False)
    small, large = (400, 600) if record.is_smoke else (100_000, 1_000_000)
    for name, fars in _FARS.items():
        for place in ("device", "host"):
            title = f"{small:,} x {_DIMENSION}, from the {place}, FARs {name}"
            record.measure(PHASE, title, partial(_within, record, small, place, fars), needs=5)
    title = f"{small:,} against {large:,} x {_DIMENSION}, FARs 1e-5 to 1e-7"
    record.measure(PHASE, title, lambda: _against(record, small, large), needs=12)
    title = f"{large:,} x {_DIMENSION}, from the device, FARs 1e-5 to 1e-7"
    record.measure(PHASE, title, lambda: _within(record, large, "device", _FARS["1e-5 to 1e-7"]), needs=35)
    record.measure(PHASE, f"where {small:,} x {_DIMENSION} spends it", lambda: _profile(record, small), needs=5)


def _within(record: Record, images: int, place: str, fars: tuple[float, ...]) -> Figure:
    embeddings, labels = _people(images, record.device)
    given: Any = embeddings if place == "device" else embeddings.cpu().numpy()
    pairs = images * (images - 1) // 2
    rounds = 3 if images < 200_000 else 1
    product = _product(record, PairSet.within(given, labels, record.device), rounds)
    return _compared(product, _fastest(record, lambda: all_pairs(given, labels, fars, record.device), rounds), pairs)


def _against(record: Record, gallery: int, probes: int) -> Figure:
    first, first_labels = _people(gallery, record.device)
    second, second_labels = _people(probes, record.device)
    fars = _FARS["1e-5 to 1e-7"]
    given = (first, first_labels, second, second_labels)
    product = _product(record, PairSet.against(*given, device=record.device), 1)
    ours = _fastest(record, lambda: gallery_probe_pairs(*given, fars, device=record.device), 1)
    return _compared(product, ours, gallery * probes)


def _compared(product: Figure, ours: Figure, pairs: int) -> Figure:
    return {
        "seconds": ours["seconds"],
        "product": product["seconds"],
        "x product": ours["seconds"] / product["seconds"],
        "pairs/s": pairs / ours["seconds"],
        "product TFLOP/s": 2 * _DIMENSION * pairs / product["seconds"] / 1e12,
        "peak MB": ours.get("peak MB"),
    }


def _people(images: int, device: str) -> tuple[Tensor, np.ndarray]:
    """Draw ten images of each person around a centre of their own, on the device."""
    generator = torch.Generator(device).manual_seed(0)
    centres = torch.randn(images // 10 + 1, _DIMENSION, generator=generator, device=device)
    drawn = torch.randn(images, _DIMENSION, generator=generator, device=device)
    labels = np.arange(images) // 10
    drawn += centres[torch.from_numpy(labels).to(device)]
    return drawn, labels


def _product(record: Record, pairs: PairSet, rounds: int) -> Figure:
    return _fastest(record, lambda: _products(pairs), rounds)


def _products(pairs: PairSet) -> None:
    """Make the bare products of the blocks that `all_pairs` goes through, and nothing else."""
    memory = torch.empty(0, device=pairs.rows.device)
    for top, left, bottom, right in pairs.blocks():
        size = (bottom - top) * (right - left)
        memory = memory if len(memory) >= size else torch.empty(size, device=memory.device)
        torch.mm(
            pairs.rows[top:bottom], pairs.columns[left:right].T, out=memory[:size].view(bottom - top, right - left)
        )


def _fastest(record: Record, work: Callable[[], Any], rounds: int) -> Figure:
    if rounds > 1:
        work()  # Kernels are compiled, libraries loaded, memory taken; what is measured once comes after that.
        wait(record.device)
    on_gpu = record.device == "cuda"
    if on_gpu:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        wait(record.device)
        taken.append(time.perf_counter() - start)
    figure: Figure = {"seconds": min(taken)}
    if on_gpu:
        figure["peak MB"] = (torch.cuda.max_memory_allocated() - before) / 1e6
    return figure


def _profile(record: Record, images: int) -> Figure:
    """Where the time goes, by kernel."""
    embeddings, labels = _people(images, record.device)
    fars = _FARS["1e-3 to 1e-6"]
    all_pairs(embeddings, labels, fars, record.device)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if record.device == "cuda" else []
    with torch.profiler.profile(activities=kinds) as profile:
        all_pairs(embeddings, labels, fars, record.device)
        wait(record.device)
    key = "self_device_time_total" if record.device == "cuda" else "self_cpu_time_total"
    rows = sorted(profile.key_averages(), key=lambda row: -getattr(row, key))
    return {f"{row.key[:70]} x {row.count}, ms": round(getattr(row, key) / 1e3, 2) for row in rows[:12]}
