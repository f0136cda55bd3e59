"""The contrastive loss of cosines: one person's pictures together, two persons' apart."""

from torch import Tensor


def contrast(cosines: Tensor, is_pair: Tensor, is_same: Tensor, margin: float) -> Tensor:
    """Sum the mean distance of pairs of one person and the mean excess of pairs of two.

    Args:
        cosines: (N, M).
        is_pair: (N, M) bool, which of them count.
        is_same: (N, M) bool, which are of one person.
        margin: The cosine up to which two persons are far enough apart.

    Returns:
        A scalar: mean of ``1 - cos`` plus mean of ``max(0, cos - margin)``; a kind without a pair counts 0.

    Example:
        >>> import torch
        >>> cosines, every = torch.tensor([[0.75, 0.25]]), torch.ones(1, 2, dtype=torch.bool)
        >>> contrast(cosines, every, torch.tensor([[True, False]]), margin=0.0).item()
        0.5
    """
    return masked_mean(1 - cosines, is_pair & is_same) + masked_mean(
        (cosines - margin).clamp(min=0), is_pair & ~is_same
    )


def masked_mean(values: Tensor, is_counted: Tensor) -> Tensor:
    """Average the values that count; 0 where none does."""
    return (values * is_counted).sum() / is_counted.sum().clamp(min=1)
