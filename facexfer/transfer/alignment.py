"""Terms that hold tapped maps near the source's under weights, learned or fixed, one attention module per layer."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from facexfer.transfer.stages import Passes, Term


class FixedAttention(nn.Module):
    """Weights that are the same for all samples, in the place of a learned attention module.

    Args:
        weights: (H, W) over positions or (C,) over channels, summing to 1.

    Example:
        >>> FixedAttention(torch.tensor([0.25, 0.75]))(torch.rand(3, 2, 7, 7)).shape
        torch.Size([3, 2])
    """

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights.clone())

    def forward(self, maps: Tensor) -> Tensor:
        """The weights, repeated for each sample of (N, C, H, W)."""
        return self.weights.expand(len(maps), *self.weights.shape)


class AttentiveAlignment(Term):
    """A sum over the tapped layers of a distance under attention; subclasses name the distance.

    Args:
        attentions: One per layer, maps (N, C, H, W) of the source network -> the weights that the distance takes.
    """

    reads_maps = True

    def __init__(self, attentions: Iterable[nn.Module]) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(attentions)

    @staticmethod
    def distance(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Compare the maps of one layer."""
        raise NotImplementedError

    def forward(self, passes: Passes) -> Tensor:
        """Sum the distances over the tapped layers."""
        layers = zip(self.attentions, passes.source_maps, passes.target_maps, strict=True)
        return torch.stack([self.distance(source, target, attend(source)) for attend, source, target in layers]).sum()
