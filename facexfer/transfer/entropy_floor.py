"""Attention that cannot collapse: a lower bound on the entropy of every sample's weights."""

import math

import torch
from torch import Tensor

from facexfer.errors import InputError

_HALVINGS = 20


def raise_entropy(weights: Tensor, floor: float) -> Tensor:
    """Mix weights with uniform ones, by as little as keeps their entropy at or above a floor.

    Attention that is trained to lower its own distance puts all weight on one channel, and one channel's weight is
    then C times the uniform one. The share of the mixture is found by halving, a sample at a time; it is a constant
    to the gradient. This is ours, not the paper's.

    Args:
        weights: (N, C), every sample's summing to 1.
        floor: As a part of the largest entropy, log C; 0 leaves the weights as they are, below 1.

    Returns:
        (N, C), every sample's summing to 1.

    Raises:
        InputError: If the floor is not in [0, 1).

    Example:
        >>> [round(weight, 3) for weight in raise_entropy(torch.tensor([[1.0, 0.0]]), 0.5)[0].tolist()]
        [0.89, 0.11]
    """
    if not 0 <= floor < 1:
        raise InputError(f"expected an entropy floor of at least 0 and below 1, got {floor}; 0 sets none")
    if floor == 0:
        return weights
    channels = weights.shape[1]
    with torch.no_grad():
        low, high = torch.zeros_like(weights[:, :1]), torch.ones_like(weights[:, :1])
        for _ in range(_HALVINGS):
            share = (low + high) / 2
            is_enough = _entropy(_mix(weights, share)) >= floor * math.log(channels)
            low, high = torch.where(is_enough, low, share), torch.where(is_enough, share, high)
        is_met = _entropy(weights) >= floor * math.log(channels)
        share = torch.where(is_met, torch.zeros_like(high), high)
    return _mix(weights, share)


def _mix(weights: Tensor, share: Tensor) -> Tensor:
    return (1 - share) * weights + share / weights.shape[1]


def _entropy(weights: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(weights).sum(dim=1, keepdim=True)
    return entropy
