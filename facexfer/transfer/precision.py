"""Terms reckon in float32 at least: under autocast embeddings and maps come in half precision."""

import torch
from torch import Tensor


def wide(values: Tensor) -> Tensor:
    """Widen half precision to float32; other values stay as they are.

    Example:
        >>> wide(torch.zeros(1, dtype=torch.bfloat16)).dtype, wide(torch.zeros(1, dtype=torch.float64)).dtype
        (torch.float32, torch.float64)
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two matrices in their own precision, which autocast would halve."""
    with torch.autocast(left.device.type, enabled=False):
        return left @ right
