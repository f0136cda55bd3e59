"""DELTA's channel weights against one forward pass a channel: ``python tools/bench.py delta-weights [--every 64]``.

Both ways measure the same channels of a ResNet-101 (random weights) on the same batches in one run: every n-th channel
of each tapped layer, so that the layers keep their shares of the work.
"""

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.backbones import create_backbone
from facexfer.transfer.channel_weights import loss_rises, plain_loss_rises


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench.py delta-weights", description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=64, help="measure every n-th channel of a layer")
    parser.add_argument("--batches", type=int, default=4, help="batches of 8 images")
    parser.add_argument("--at-once", type=int, default=32, help="images that go through together")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = create_backbone("resnet101").eval().to(device)
    classifier = nn.Linear(2048, 10).to(device)
    layers = tuple(tap.layer for tap in network.info.taps)
    channels = [range(0, tap.channels, options.every) for tap in network.info.taps]
    batches = [
        (torch.randn(8, 3, 224, 224, device=device), torch.randint(0, 10, (8,), device=device))
        for _ in range(options.batches)
    ]

    def loss(embeddings: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(classifier(embeddings), labels, reduction="none")

    count = sum(map(len, channels))
    print(f"{device}, {torch.get_num_threads()} threads, {count} channels, {options.batches} batches of 8")
    start = time.perf_counter()
    fast = loss_rises(network, loss, layers, batches, channels, images_at_once=options.at_once)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    plain = plain_loss_rises(network, loss, layers, batches, channels)
    theirs = time.perf_counter() - start
    largest = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(fast, plain, strict=True))
    print(f"one forward pass a channel {theirs:8.1f} s")
    print(f"from the layer onward      {ours:8.1f} s = {theirs / ours:.1f} x faster (bar 10)")
    print(f"largest difference of a rise {largest:.1e} of the layer's largest (bar 1e-4)")
