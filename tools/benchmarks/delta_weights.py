"""DELTA's channel weights against one forward pass per channel: ``python tools/bench.py delta-weights [--every 64]``.

Both ways measure channels of a ResNet-101 on the same batches in one run: every n-th channel of each tapped layer, so
that the layers keep their shares of the work. A full forward pass costs the same whatever channel it is for, so the
plain way may do with fewer of them (``--plain-every``) and is told by the channel. Operations are counted as
well as time: they are what recomputing from the layer onward saves by itself, whatever the machine.

That both ways are equal is measured in float64 on a few channels: the weights are random (with BatchNorm statistics of
the batches), a silenced channel then changes a loss of 2.5 in the third digit or less, and of that change float32 has
two to four digits, in both ways.
"""

import argparse
import copy
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from facexfer.backbones import create_backbone
from facexfer.runtime import prepare_cpu
from facexfer.transfer.channel_weights import loss_rises, plain_loss_rises

_CHECKED_EVERY = 512


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.py delta-weights", description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=64, help="measure every n-th channel of a layer")
    parser.add_argument("--plain-every", type=int, default=256, help="the same for one forward pass per channel")
    parser.add_argument("--batches", type=int, default=4, help="batches of 8 images")
    parser.add_argument("--at-once", type=int, help="images that go through together")
    options = parser.parse_args(arguments)
    prepare_cpu()
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = create_backbone("resnet101").to(device)
    classifier = nn.Linear(2048, 10).to(device)
    batches = [
        (torch.randn(8, 3, 224, 224, device=device), torch.randint(0, 10, (8,), device=device))
        for _ in range(options.batches)
    ]
    take_statistics(network, batches[0][0])
    taps = network.info.taps
    layers = tuple(tap.layer for tap in taps)
    ours, theirs, few = (
        [range(0, tap.channels, every) for tap in taps]
        for every in (options.every, options.plain_every, _CHECKED_EVERY)
    )
    print(f"{device}, {torch.get_num_threads()} threads, {options.batches} batches of 8")
    loss = per_sample_loss(classifier)
    start = time.perf_counter(), time.process_time()
    loss_rises(network, loss, layers, batches, ours, images_at_once=options.at_once)
    fast = per_channel(start, ours)
    start = time.perf_counter(), time.process_time()
    plain_loss_rises(network, loss, layers, batches, theirs)
    plain = per_channel(start, theirs)
    print(f"one forward pass per channel {plain[0]:8.2f} s ({plain[1]:.2f} s of processor time) per channel")
    print(f"from the layer onward      {fast[0]:8.2f} s ({fast[1]:.2f} s) a channel")
    print(f"faster {plain[0] / fast[0]:.1f} x, by processor time {plain[1] / fast[1]:.1f} x (bar 10)")
    plain_operations, fast_operations = (
        operations(way, network, loss, layers, [range(0, tap.channels, 256) for tap in taps])
        for way in (plain_loss_rises, loss_rises)
    )
    print(f"operations {plain_operations / fast_operations:.1f} x fewer in the part that depends on the channel")
    check(network, classifier, layers, few, batches[0])


@torch.no_grad()
def take_statistics(network: nn.Module, images: Tensor) -> None:
    """Set BatchNorm's statistics from a batch; else the maps grow from layer to layer, and the loss with them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    network.train()(images)
    network.eval()


def per_sample_loss(classifier: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda embeddings, labels: F.cross_entropy(classifier(embeddings), labels, reduction="none")


def per_channel(start: tuple[float, float], channels: Sequence[range]) -> tuple[float, float]:
    count = sum(map(len, channels))
    return (time.perf_counter() - start[0]) / count, (time.process_time() - start[1]) / count


def operations(
    rises: Callable[..., object], network: nn.Module, loss: object, layers: Sequence[str], channels: Sequence[range]
) -> int:
    """Count what the channels cost, without the pass that is made once per batch."""
    device = next(network.parameters()).device
    batch = [(torch.randn(1, 3, 224, 224, device=device), torch.zeros(1, dtype=torch.int64, device=device))]
    counts = []
    for chosen in (channels, [range(0)] * len(channels)):
        with FlopCounterMode(display=False) as counter:
            rises(network, loss, layers, batch, chosen)
        counts.append(counter.get_total_flops())
    return int(counts[0] - counts[1])


def check(
    network: nn.Module,
    classifier: nn.Module,
    layers: Sequence[str],
    channels: Sequence[range],
    batch: tuple[Tensor, Tensor],
) -> None:
    images, labels = batch
    measured = {}
    for kind in (torch.float64, torch.float32):
        loss = per_sample_loss(copy.deepcopy(classifier).to(kind))
        precise = copy.deepcopy(network).to(kind)
        for way in (loss_rises, plain_loss_rises):
            measured[kind, way] = way(precise, loss, layers, [(images.to(kind), labels)], channels)
    truth = measured[torch.float64, plain_loss_rises]
    for (kind, way), rises in measured.items():
        largest = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(rises, truth, strict=True))
        if rises is not truth:
            bar = " (bar 1e-4)" if kind == torch.float64 else ""
            print(f"{way.__name__} in {kind} is within {largest:.1e} of the plain way in float64{bar}")
