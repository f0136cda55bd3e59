"""A batch's embeddings against its companions': one person's together, two persons' apart; and a stage of it alone."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.transfer.contrast import contrast
from facexfer.transfer.precision import product, wide
from facexfer.transfer.stages import Need, Passes, Stage, StageSetting, Term, WeightedTerm


class CompanionContrast(Term):
    """The contrastive loss between a batch's embeddings and its companions'.

    Args:
        margin: m, the cosine up to which two persons are far enough apart.
    """

    reads_companions = True

    def __init__(self, margin: float) -> None:
        super().__init__()
        self._margin = margin

    def forward(self, passes: Passes) -> Tensor:
        """Compare every picture with every companion.

        An image without a label is compared with its own companion alone, and no other with its companion: it may be of
        anybody in the batch, as companions that are shown themselves are.

        Raises:
            ValueError: If the objective was not given the companions.
        """
        if passes.companions is None:
            raise ValueError("expected the companions' embeddings, got none; the engine must give them")
        units = F.normalize(wide(passes.target_embeddings))
        cosines = product(units, passes.companions.to(units.dtype).T)
        labels, images = passes.labels, len(passes.labels)
        is_known = (labels >= 0)[:, None] & (labels >= 0)[None, :]
        is_own = torch.eye(images, dtype=torch.bool, device=labels.device)
        is_same = is_own | ((labels[:, None] == labels[None, :]) & is_known)
        is_pair = passes.companions.any(dim=1)[None, :] & (is_known | is_own)
        return contrast(cosines, is_pair, is_same, self._margin)


def train_added_part(method: str, part: str, weight: float, margin: float, decay: float) -> tuple[Stage, ...]:
    """Train what was added to a frozen network (`facexfer.backbones.adapted`) by the contrast alone.

    Args:
        method: The name of the method and of the networks that it is for, such as ``pdt``.
        part: The name of the added part among the network's modules.
        weight: Of the contrast.
        margin: Its margin, a cosine.
        decay: The factor of ``1/2 ||W||^2`` of the part.

    Returns:
        One stage, which does not classify.

    Raises:
        InputError: If the weight is not positive.
    """
    if weight <= 0:
        raise InputError(f"{method}: expected a positive weight, got {weight}; 20 is the default")

    def make(setting: StageSetting) -> Term:
        return CompanionContrast(margin)

    def added(backbone: nn.Module) -> list[nn.Parameter]:
        module = getattr(backbone, part, None)
        if not isinstance(module, nn.Module):
            raise InputError(
                f"{method}: expected a network with the part that it trains, got one without; set source.backbone = "
                f'"{method}:NAME", such as "{method}:mobilefacenet"'
            )
        return list(module.parameters())

    return (
        Stage(
            part,
            (WeightedTerm("contrast", weight, make, CompanionContrast, chance=1.0),),
            trained_part=added,
            backbone_decay=decay,
            needs=frozenset({Need.COMPANIONS}),
            classification=0.0,
        ),
    )
