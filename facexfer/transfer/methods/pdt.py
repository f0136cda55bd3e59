"""Prepended domain transformer (PDT; George, Mohammadi, Marcel, IEEE TIFS 2022, arXiv 2210.06529).

A small block g in front of the frozen source f_s turns NIR pictures into what the source knows; nothing else is
trained. With t_j the source's embedding of the companion of picture j,

    L = w * (mean over pairs (i, j) of one person of (1 - cos(f_s(g(n_i)), t_j))
           + mean over pairs of two persons of max(0, cos(f_s(g(n_i)), t_j) - m)).                              (1)

VIS pictures go through f_s alone, so visible light stays exactly as it is: serve two files, the source and this one.
``source.backbone = "pdt:NAME"`` puts the block there (`facexfer.backbones.prefixed`). The paper draws pairs; here all
pairs of a batch count, those of one person and those of two with equal weight. Weight and margin are ours.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.transfer.contrast import contrast
from facexfer.transfer.stages import Need, Passes, Stage, StageSetting, Term, WeightedTerm


class CompanionContrast(Term):
    """The contrastive loss between a batch's embeddings and its companions', Eq. 1 without w.

    Args:
        margin: m, the cosine up to which two persons are far enough apart.
    """

    reads_companions = True

    def __init__(self, margin: float) -> None:
        super().__init__()
        self._margin = margin

    def forward(self, passes: Passes) -> Tensor:
        """Compare every picture with every companion; an image without a label is one of nobody else in the batch.

        Raises:
            ValueError: If the objective was not given the companions.
        """
        if passes.companions is None:
            raise ValueError("expected the companions' embeddings, got none; the engine must give them")
        dtype = torch.promote_types(passes.target_embeddings.dtype, torch.float32)
        units = F.normalize(passes.target_embeddings.to(dtype))
        cosines = units @ passes.companions.to(dtype).T
        labels, images = passes.labels, len(passes.labels)
        is_same = (labels[:, None] == labels[None, :]) & (labels >= 0)
        is_same = is_same | torch.eye(images, dtype=torch.bool, device=labels.device)
        is_pair = passes.companions.any(dim=1)[None, :].expand(images, images)
        return contrast(cosines, is_pair, is_same, self._margin)


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
        >>> [stage.needs for stage in pdt()]
        [frozenset({<Need.COMPANIONS: 'companions'>})]
    """
    if weight <= 0:
        raise InputError(f"pdt: expected a positive weight, got {weight}; 20 is the default")

    def make(setting: StageSetting) -> Term:
        return CompanionContrast(margin)

    return (
        Stage(
            "prefix",
            (WeightedTerm("contrast", weight, make),),
            trained_part=_prefix,
            backbone_decay=decay,
            needs=frozenset({Need.COMPANIONS}),
            classification=0.0,
        ),
    )


def _prefix(backbone: nn.Module) -> list[nn.Parameter]:
    prefix = getattr(backbone, "prefix", None)
    if not isinstance(prefix, nn.Module):
        raise InputError(
            'pdt: expected a network with a block in front, got one without; set source.backbone = "pdt:NAME", such as '
            '"pdt:mobilefacenet"'
        )
    return list(prefix.parameters())
