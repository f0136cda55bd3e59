"""Prepended domain transformer (PDT; George, Mohammadi, Marcel, IEEE TIFS 2022, arXiv 2210.06529).

A small block g in front of the frozen source f_s turns NIR pictures into what the source knows; nothing else is
trained. With t_j the source's embedding of the companion of picture j,

    L = w * (mean over pairs (i, j) of one person of (1 - cos(f_s(g(n_i)), t_j))
           + mean over pairs of two persons of max(0, cos(f_s(g(n_i)), t_j) - m)).                              (1)

VIS pictures go through f_s alone, so visible light stays exactly as it is: serve two files, the source and this one.
``source.backbone = "pdt:NAME"`` puts the block there (`facexfer.backbones.prefixed`). The paper draws pairs; here all
pairs of a batch count, those of one person and those of two with equal weight. Weight and margin are ours.
"""

from facexfer.transfer.companion_contrast import train_added_part
from facexfer.transfer.stages import Stage


def pdt(weight: float = 20.0, margin: float = 0.0, decay: float = 0.0) -> tuple[Stage, ...]:
    """Train the block in front of a frozen network.

    Args:
        weight: w; it acts like a factor of the learning rate.
        margin: m, a cosine.
        decay: The factor of ``1/2 ||W||^2`` of the block.

    Returns:
        One stage, which does not classify.

    Raises:
        InputError: If the weight is not positive.

    Example:
        >>> [stage.name for stage in pdt()]
        ['prefix']
    """
    return train_added_part("pdt", "prefix", weight, margin, decay)
