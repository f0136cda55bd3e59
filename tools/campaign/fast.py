"""Phase fast: the training step of four networks, in every layout and precision, compared with the published way."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from campaign.record import Figure, Record
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from training_steps import Step, StepSetting, batch_of, make_published_way, make_way

from facexfer.backbones import create_backbone
from facexfer.data.device_augmentation import DEVICE_PRESETS, augment

PHASE = "fast"
AUGMENTATION = "augmentation on the device, ms a batch"
SMOKE_NETWORK = "mobilefacenet_slim"
_BATCH = {"mobilefacenet": 64, "lresnet34e_ir": 64, "resnet101": 64, "mobilenet_v2": 64}
# Name -> channels last, autocast, TF32.
SETTINGS = {
    "float32 nchw": (False, None, False),
    "float32 channels_last": (True, None, False),
    "tf32 nchw": (False, None, True),
    "tf32 channels_last": (True, None, True),
    "bf16 nchw": (False, torch.bfloat16, True),
    "bf16 channels_last": (True, torch.bfloat16, True),
}
_FEW = ("float32 nchw", "tf32 channels_last", "bf16 channels_last")


def run(record: Record) -> None:
    """Measure in order of value."""
    record.measure(PHASE, "ceilings", lambda: ceilings(record))
    networks = list(_BATCH) if not record.is_smoke else [SMOKE_NETWORK]
    for setting in SETTINGS if not record.is_smoke else ("float32 channels_last",):
        for method in ("l2", "afa") if not record.is_smoke else ("afa",):
            _step(record, networks[0], method, setting)
    best = fastest(record, networks[0])
    more: list[tuple[str, dict[str, Any]]] = [("delta", {}), ("afa", {"taps": 8}), ("afa", {"taps": 12})]
    for method, options in more[: 1 if record.is_smoke else 3]:
        _step(record, networks[0], method, best, **options)
    record.measure(PHASE, f"{networks[0]} / published", lambda: _published(record, networks[0]))
    for method in ("l2", "afa"):
        name = f"{networks[0]} / {method} / {best} / graph"
        record.measure(PHASE, name, partial(_graphed, record, networks[0], method, best))
    record.measure(PHASE, AUGMENTATION, lambda: _augmentation(record))
    record.measure(PHASE, f"{networks[0]} / profile", lambda: _profile(record, networks[0], best))
    for network in networks[1:]:
        for setting in _FEW:
            for method in ("l2", "afa"):
                _step(record, network, method, setting, needs=4)
        setting = fastest(record, network)
        _step(record, network, "delta", setting, needs=4)
        record.measure(PHASE, f"{network} / published", partial(_published, record, network), needs=4)
    for compiled in () if record.is_smoke else ("compiled", "captured"):
        for method in ("l2", "afa"):
            name = f"{networks[0]} / {method} / {best} / {compiled}"
            work = partial(_measured, record, networks[0], method, best, compiled)
            record.measure(PHASE, name, work, needs=60)


def fastest(record: Record, network: str) -> str:
    """Name the setting whose AFA step is the shortest; the first where none was measured."""
    seconds = {
        setting: record.figures[PHASE][name]["seconds"]
        for setting in SETTINGS
        if record.has(PHASE, name := f"{network} / afa / {setting}")
    }
    return min(seconds, key=lambda setting: seconds[setting], default="float32 nchw")


def ratios(record: Record) -> list[str]:
    """What the bars ask: AFA by plain and by DELTA, and the published way by AFA."""
    lines = []
    for network in (*_BATCH, SMOKE_NETWORK):
        best = fastest(record, network)
        known = {
            other: record.figures[PHASE][name]["seconds"]
            for other, name in (
                ("l2", f"{network} / l2 / {best}"),
                ("delta", f"{network} / delta / {best}"),
                ("published", f"{network} / published"),
            )
            if record.has(PHASE, name)
        }
        if record.has(PHASE, afa := f"{network} / afa / {best}"):
            seconds = record.figures[PHASE][afa]["seconds"]
            shown = [f"afa/{name} {seconds / known[name]:.3f}" for name in ("l2", "delta") if name in known]
            shown += [f"published/afa {known['published'] / seconds:.2f}"] if "published" in known else []
            lines.append(f"{network}, {best}: {seconds * 1e3:.2f} ms, {', '.join(shown)}")
    return lines


def ceilings(record: Record) -> Figure:
    """Measure a large bfloat16 product, the same in float32 and TF32, and a large copy."""
    side = 256 if record.is_smoke else 8192
    figure: Figure = {}
    for name, kind, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("tf32", torch.float32, True),
        ("float32", torch.float32, False),
    ):
        use_tf32(tf32)
        square = torch.randn(side, side, device=record.device).to(kind)
        figure[f"{name} TFLOP/s"] = 2 * side**3 / per_call(record, partial(torch.mm, square, square)) / 1e12
    one = torch.randn(2**16 if record.is_smoke else 2**30, device=record.device)
    other = torch.empty_like(one)
    figure["copy TB/s"] = 2 * 4 * one.numel() / per_call(record, lambda: other.copy_(one)) / 1e12
    return figure


def use_tf32(allowed: bool) -> None:
    """Let matrix products and convolutions use TF32, or not, as a recipe's ``runtime.tf32`` does."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def per_call(record: Record, work: Callable[[], Any], seconds: float = 0.25) -> float:
    """Median seconds per call, waiting for the device after every ten."""
    warm, rounds, calls = 3, 5, 10
    if record.is_smoke:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    for _ in range(warm):
        work()
    wait(record.device)
    start = time.perf_counter()
    work()
    wait(record.device)
    calls = max(1, min(calls, int(seconds / max(time.perf_counter() - start, 1e-9))))
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        wait(record.device)
        taken.append((time.perf_counter() - start) / calls)
    return statistics.median(taken)


def wait(device: str) -> None:
    """Wait for what was asked of the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def _step(record: Record, network: str, method: str, setting: str, needs: float = 2, **options: Any) -> None:
    words = [network, " ".join([method, *map(str, options.values())]), setting]
    record.measure(PHASE, " / ".join(words), lambda: _measured(record, network, method, setting, **options), needs)


def _measured(record: Record, network: str, method: str, setting: str, compiled: str = "", **options: Any) -> Figure:
    if options.get("taps", 4) > len(create_backbone(network).info.blocks):
        return {"left out": "the network has fewer blocks"}
    step, batch = _prepared(record, network, method, setting, compiled, **options)
    figure = _timed(record, lambda: step(*batch), len(batch[0]))
    if not compiled and method == "afa":
        figure |= _shares(record, step, batch, figure["seconds"])
    return {**figure, "batch": len(batch[0]), "side": batch[0].shape[-1]}


def _prepared(
    record: Record, network: str, method: str, setting: str, compiled: str = "", **options: Any
) -> tuple[Step, tuple[Tensor, Tensor]]:
    channels_last, autocast, tf32 = SETTINGS[setting]
    use_tf32(tf32)
    chosen = StepSetting(record.device, channels_last, autocast, compiled != "", compiled == "captured")
    return make_way(network, method, chosen, **options), batch_of(_batch(record, network), chosen, network)


def _batch(record: Record, network: str) -> int:
    return 2 if record.is_smoke else _BATCH[network]


def _published(record: Record, network: str) -> Figure:
    # The published programs leave torch's default: TF32 in convolutions alone.
    use_tf32(False)
    torch.backends.cudnn.allow_tf32 = True
    chosen = StepSetting(record.device, channels_last=False)
    batch = batch_of(_batch(record, network), chosen, network)
    step = make_published_way(network, chosen)
    return _timed(record, lambda: step(*batch), len(batch[0]))


def _timed(record: Record, work: Callable[[], Any], images: int) -> Figure:
    if record.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = per_call(record, work)
    figure = {"seconds": seconds, "images/s": images / seconds}
    if record.device == "cuda":
        figure["peak MB"] = torch.cuda.max_memory_allocated() / 1e6
    return figure


def _shares(record: Record, step: Step, batch: tuple[Tensor, Tensor], seconds: float) -> Figure:
    """Which part of the bf16 product's rate and of the copy's bandwidth a step reaches."""
    if not record.has(PHASE, "ceilings"):
        return {}
    with FlopCounterMode(display=False) as counter:
        step(*batch)
    with _Traffic() as traffic:
        step(*batch)
    peaks = record.figures[PHASE]["ceilings"]
    return {
        "GFLOP": counter.get_total_flops() / 1e9,
        "of bf16 peak": counter.get_total_flops() / seconds / 1e12 / peaks["bf16 TFLOP/s"],
        "GB": traffic.bytes / 1e9,
        "of bandwidth": traffic.bytes / seconds / 1e12 / peaks["copy TB/s"],
    }


class _Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write, as if each tensor went through memory."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = torch.utils._pytree.tree_leaves((args, kwargs, given))
            self.bytes += sum(each.nbytes for each in leaves if isinstance(each, Tensor))
        return given


def _augmentation(record: Record) -> Figure:
    crops = torch.randint(0, 256, (2 if record.is_smoke else 64, 3, 112, 112), dtype=torch.uint8, device=record.device)
    return {preset: 1e3 * per_call(record, partial(augment, crops, preset, 0, 0)) for preset in DEVICE_PRESETS}


def _graphed(record: Record, network: str, method: str, setting: str) -> Figure:
    """Replay a step from a CUDA graph: what is left is the device's own time."""
    if record.device != "cuda":
        return {"left out": "no GPU"}
    step, batch = _prepared(record, network, method, setting)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(*batch)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(*batch)
    return _timed(record, graph.replay, len(batch[0]))


def _profile(record: Record, network: str, setting: str) -> Figure:
    """Where an AFA step's time goes, by kernel."""
    step, batch = _prepared(record, network, "afa", setting)
    step(*batch)
    wait(record.device)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if record.device == "cuda" else []
    with torch.profiler.profile(activities=kinds) as profile:
        step(*batch)
        wait(record.device)
    key = "self_device_time_total" if record.device == "cuda" else "self_cpu_time_total"
    rows = sorted(profile.key_averages(), key=lambda row: -getattr(row, key))
    total = sum(getattr(row, key) for row in rows) or 1
    return {row.key[:80]: round(getattr(row, key) / total, 4) for row in rows[:12]}
