"""DELTA: align feature maps channel by channel, by fixed weights (Li et al., ICLR 2019)."""

from torch import Tensor

from facexfer.transfer.alignment import AttentiveAlignment, FixedAttention
from facexfer.transfer.stages import Stage, StageSetting, Term, WeightedTerm
from facexfer.transfer.terms import delta_distance


class WeightedChannelAlignment(AttentiveAlignment):
    """The tapped layers' `delta_distance` under weights that are the same for all samples (Li 2019, Eq. 5)."""

    @staticmethod
    def distance(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Compare the maps of one layer under the first sample's weights, which are every sample's."""
        return delta_distance(source, target, weights[0])


def delta(alpha: float = 0.64, head_decay: float = 0.01, taps: int = 4) -> tuple[Stage, ...]:
    """Align the tapped maps, each channel by how much the task's loss rises without it.

    The weights come from `facexfer.transfer.channel_weights`; a run works them out once and keeps them in its folder.

    Args:
        alpha: The weight of the alignment on the batch mean. Published: 0.01 (0.1 on Dogs) for a sum over a batch of
            64, which is 0.64 (6.4 on Dogs) here.
        head_decay: The factor of ``1/2 ||W||^2`` of the head (published: 0.01; the backbone has none).
        taps: How many layers are aligned.

    Returns:
        One stage.

    Example:
        >>> delta()[0].terms[0].alpha
        0.64
    """
    return (
        Stage(
            "delta",
            (WeightedTerm("channels", alpha, _make, WeightedChannelAlignment),),
            head_decay=head_decay,
            taps=taps,
        ),
    )


def _make(setting: StageSetting) -> Term:
    return WeightedChannelAlignment(map(FixedAttention, setting.answers.channel_weights(setting.layers)))
