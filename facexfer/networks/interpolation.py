"""Weights between two networks (WiSE-FT; Wortsman et al., CVPR 2022, arXiv 2109.01903)."""

import torch
from torch import nn


@torch.no_grad()
def interpolate_weights(network: nn.Module, source: nn.Module, share: float) -> None:
    """Move a fine-tuned network back towards the one that it started from: ``(1 - share) * network + share * source``.

    The parameters are interpolated, buffers are not: BatchNorm statistics that training has moved are to be measured
    again afterwards.

    Args:
        network: Changed in place.
        source: Of the same layers.
        share: What remains of the source, 0 to 1.

    Example:
        >>> first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(first.weight, 2.0), nn.init.constant_(second.weight, 4.0)
        >>> interpolate_weights(first, second, share=0.25)
        >>> first.weight.item()
        2.5
    """
    for weights, origin in zip(network.parameters(), source.parameters(), strict=True):
        weights.lerp_(origin.to(weights), share)
