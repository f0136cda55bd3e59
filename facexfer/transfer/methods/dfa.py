"""Direct feature alignment: all features of the tapped layers, no attention (Xie et al. 2021, Eqs. 2 and 3)."""

import torch
from torch import Tensor

from facexfer.transfer.stages import Passes, Stage, Term, WeightedTerm
from facexfer.transfer.terms import feature_distance


class FeatureAlignment(Term):
    """``sum over layers of 1/2 ||F_t - F_s||^2``, a mean over the batch (Eq. 3)."""

    reads_maps = True

    def forward(self, passes: Passes) -> Tensor:
        """Sum the distances over the tapped layers."""
        layers = zip(passes.source_maps, passes.target_maps, strict=True)
        return torch.stack([feature_distance(source, target) for source, target in layers]).sum()


def dfa(alpha: float = 0.1, head_decay: float = 0.01, taps: int = 4) -> tuple[Stage, ...]:
    """Align all features with the source's.

    Args:
        alpha: The weight of the alignment. None is published; 0.1 is AST's for ResNet-101 on Dogs, which has the same
            scale. The published implementation sums over the batch: its alpha is this one divided by the batch size.
        head_decay: The factor of ``1/2 ||W||^2`` of the head (published: 0.01; the backbone has none).
        taps: How many layers are aligned.

    Returns:
        One stage.

    Example:
        >>> dfa(alpha=0.5)[0].terms[0].alpha
        0.5
    """
    term = WeightedTerm("feature", alpha, lambda setting: FeatureAlignment(), FeatureAlignment)
    return (Stage("dfa", (term,), head_decay=head_decay, taps=taps),)
