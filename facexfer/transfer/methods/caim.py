"""Conditional adaptive instance modulation (CAIM; George, Marcel, IEEE T-BIOM 2024, arXiv 2404.14247).

Blocks in the frozen source f_s modulate its early maps for NIR pictures (Eq. 1 of `facexfer.backbones.modulated`);
nothing else is trained. With g_s the network with its blocks and t_j the source's embedding of the companion of
picture j,

    L = w * (mean over pairs (i, j) of one person of (1 - cos(g_s(n_i), t_j))
           + mean over pairs of two persons of max(0, cos(g_s(n_i), t_j) - m)).                                (1)

VIS pictures go through f_s alone, so visible light stays exactly as it is: serve two files, the source and this one.
``source.backbone = "caim:NAME"`` puts the blocks there. The paper draws pairs, with a weight of 0.75 for those of one
person; here all pairs of a batch count, those of one person and those of two with equal weight, as for PDT. Weight and
margin are ours.
"""

from facexfer.transfer.companion_contrast import train_added_part
from facexfer.transfer.stages import Stage


def caim(weight: float = 20.0, margin: float = 0.0, decay: float = 0.0) -> tuple[Stage, ...]:
    """Train the blocks in a frozen network.

    Args:
        weight: w; it acts like a factor of the learning rate.
        margin: m, a cosine.
        decay: The factor of ``1/2 ||W||^2`` of the blocks.

    Returns:
        One stage, which does not classify.

    Raises:
        InputError: If the weight is not positive.

    Example:
        >>> [stage.name for stage in caim()]
        ['modulations']
    """
    return train_added_part("caim", "modulations", weight, margin, decay)
