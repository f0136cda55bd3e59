"""Phase channels: DELTA's channel weights of a ResNet-101 at 4 batches of 8, against one forward pass per channel."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from campaign.fast import SMOKE_NETWORK, use_tf32, wait
from campaign.record import Figure, Record
from torch import nn
from torch.nn import functional as F

from facexfer.backbones import create_backbone
from facexfer.transfer.channel_weights import loss_rises, plain_loss_rises

PHASE = "channels"


def run(record: Record) -> None:
    """Measure with TF32 and without."""
    network = SMOKE_NETWORK if record.is_smoke else "resnet101"
    for tf32 in (False,) if record.is_smoke else (False, True):
        name = f"{network}, {'tf32' if tf32 else 'float32'}"
        record.measure(PHASE, name, partial(_compared, record, network, tf32), needs=8)


def _compared(record: Record, name: str, tf32: bool) -> Figure:
    use_tf32(tf32)
    torch.manual_seed(0)
    count, size, ours_every, plain_every = (1, 2, 10**6, 10**6) if record.is_smoke else (4, 8, 16, 256)
    network = create_backbone(name).to(record.device)
    info = network.info
    classifier = nn.Linear(info.embedding_size, 10).to(record.device)
    batches = [
        (
            torch.randn(size, 3, *info.input_size, device=record.device),
            torch.randint(0, 10, (size,), device=record.device),
        )
        for _ in range(count)
    ]
    _take_statistics(network, batches[0][0])
    layers = tuple(tap.layer for tap in info.taps)

    def loss(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(classifier(embeddings), labels, reduction="none")

    def a_channel(way: Callable[..., object], every: int) -> float:
        channels: Sequence[range] = [range(0, tap.channels, every) for tap in info.taps]
        way(network, loss, layers, batches, [chosen[:1] for chosen in channels])
        wait(record.device)
        start = time.perf_counter()
        way(network, loss, layers, batches, channels)
        wait(record.device)
        return (time.perf_counter() - start) / sum(map(len, channels))

    plain, ours = a_channel(plain_loss_rises, plain_every), a_channel(loss_rises, ours_every)
    return {"plain ms a channel": plain * 1e3, "ours ms a channel": ours * 1e3, "faster": plain / ours}


@torch.no_grad()
def _take_statistics(network: nn.Module, images: torch.Tensor) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    network.train()(images)
    network.eval()
