"""L2-SP: stay near the source's weights (Li, Grandvalet, Davoine, ICML 2018)."""

import torch
from torch import Tensor

from facexfer.transfer.precision import wide
from facexfer.transfer.stages import Passes, Stage, StageSetting, Term, WeightedTerm


class WeightDistance(Term):
    """``1/2 ||w_t - w_s||^2`` over all trained weights of the backbone (Li 2018, Eq. 3).

    Args:
        setting: The stage's two networks; they stay no part of this module.
    """

    def __init__(self, setting: StageSetting) -> None:
        super().__init__()
        # In a tuple they are out of reach of parameters() and state_dict().
        self._pairs = tuple(
            (source.detach(), target)
            for source, target in zip(setting.source.parameters(), setting.target.parameters(), strict=True)
        )

    def forward(self, passes: Passes) -> Tensor:
        """Compute the distance; the batch is ignored."""
        squares = [(wide(target) - wide(source)).square().sum() for source, target in self._pairs]
        return torch.stack(squares).sum() / 2


def l2_sp(alpha: float = 0.01, head_decay: float = 0.01) -> tuple[Stage, ...]:
    """Fine-tune everything, the backbone drawn to the source's weights instead of to zero.

    Args:
        alpha: The weight of the distance. Xie et al. publish none; search it. 0.01 is the weight of the head's part.
        head_decay: The factor of ``1/2 ||W||^2`` of the head, beta there (published: 0.01).

    Returns:
        One stage.

    Example:
        >>> l2_sp(alpha=0.1)[0].terms[0].alpha
        0.1
    """
    return (Stage("l2_sp", (WeightedTerm("weights", alpha, WeightDistance),), head_decay=head_decay),)
