"""Distances between the source's and the target's feature maps of one layer: the Omega of each alignment method.

Every function gives a scalar, the mean over the batch of the per-sample value, with the scales that the published
implementations use (the paper leaves them out). The published implementations of DFA and DELTA sum over the batch
instead; divide their alpha by the batch size.
"""

from torch import Tensor

from facexfer.errors import InputError
from facexfer.transfer.precision import wide


def feature_distance(source: Tensor, target: Tensor) -> Tensor:
    """Compare all features alike: ``1/2 * ||F_t - F_s||^2`` (DFA; Xie et al. 2021, Eq. 3).

    Args:
        source: Maps (N, C, H, W) of the source network.
        target: Maps (N, C, H, W) of the target network.

    Returns:
        A scalar, the mean over the batch.

    Raises:
        InputError: If the shapes differ.

    Example:
        >>> import torch
        >>> feature_distance(torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2)).item()
        6.0
    """
    return _squared_difference(source, target).sum() / (2 * len(source))


def delta_distance(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Compare channels by fixed weights: ``1/2 * sum_j C w_j ||F_t,j - F_s,j||^2 / (H W)`` (DELTA; Li et al. 2019).

    Args:
        source: Maps (N, C, H, W) of the source network.
        target: Maps (N, C, H, W) of the target network.
        weights: (C,), one for all samples, summing to 1.

    Returns:
        A scalar, the mean over the batch.

    Raises:
        InputError: If the shapes do not fit.

    Example:
        >>> import torch
        >>> delta_distance(torch.zeros(2, 4, 2, 2), torch.ones(2, 4, 2, 2), torch.full((4,), 0.25)).item()
        2.0
    """
    squares = _squared_difference(source, target)
    samples, channels, height, width = squares.shape
    _expect_shape(weights, (channels,))
    per_channel = squares.sum(dim=(0, 2, 3))
    return (per_channel * weights).sum() * (channels / (2 * samples * height * width))


def spatial_distance(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Compare positions by attention: ``1/2 * sum_p ||(H W) A_p (F_t,p - F_s,p)||^2`` (AST; Xie et al. 2021, Eq. 6).

    The attention enters squared. The factor H*W, which makes uniform attention equal to `feature_distance`, and the
    1/2 are the published implementation's.

    Args:
        source: Maps (N, C, H, W) of the source network.
        target: Maps (N, C, H, W) of the target network.
        weights: (N, H, W), every sample's summing to 1.

    Returns:
        A scalar, the mean over the batch.

    Raises:
        InputError: If the shapes do not fit.

    Example:
        >>> import torch
        >>> uniform = torch.full((2, 2, 2), 0.25)
        >>> spatial_distance(torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2), uniform).item()
        6.0
    """
    squares = _squared_difference(source, target)
    samples, _, height, width = squares.shape
    _expect_shape(weights, (samples, height, width))
    per_position = squares.sum(dim=1)
    return (per_position * (height * width * weights).square()).sum() / (2 * samples)


def channel_distance(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Compare channels by attention: ``1/2 * sum_j C a_j ||F_t,j - F_s,j||^2`` (ACT; Xie et al. 2021, Eq. 8).

    The attention enters once. The factor C, which makes uniform attention equal to `feature_distance`, and the 1/2
    are the published implementation's.

    Args:
        source: Maps (N, C, H, W) of the source network.
        target: Maps (N, C, H, W) of the target network.
        weights: (N, C), every sample's summing to 1.

    Returns:
        A scalar, the mean over the batch.

    Raises:
        InputError: If the shapes do not fit.

    Example:
        >>> import torch
        >>> channel_distance(torch.zeros(2, 4, 2, 2), torch.ones(2, 4, 2, 2), torch.full((2, 4), 0.25)).item()
        8.0
    """
    squares = _squared_difference(source, target)
    samples, channels = squares.shape[:2]
    _expect_shape(weights, (samples, channels))
    per_channel = squares.sum(dim=(2, 3))
    return (per_channel * weights).sum() * (channels / (2 * samples))


def _squared_difference(source: Tensor, target: Tensor) -> Tensor:
    if source.shape != target.shape or source.ndim != 4:
        raise InputError(
            f"expected source and target maps of one shape (N, C, H, W), got {tuple(source.shape)} and "
            f"{tuple(target.shape)}; tap the same layers of the same network"
        )
    # In half precision a sum of squares overflows.
    target = wide(target)
    return (target - source.to(target.dtype)).square()


def _expect_shape(weights: Tensor, shape: tuple[int, ...]) -> None:
    if weights.shape != shape:
        raise InputError(
            f"expected weights of shape {shape}, got {tuple(weights.shape)}; compute them from these maps' layer"
        )
