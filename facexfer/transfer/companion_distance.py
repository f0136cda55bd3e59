"""How far a network puts pictures from where the untouched source puts their companions."""

import torch
from torch import Tensor
from torch.nn import functional as F

from facexfer.transfer.stages import Passes, Term


class CompanionDistance(Term):
    """One minus the cosine between an image's embedding and its companion's.

    Images without a companion (a zero row) are left out; the mean is over the others.
    """

    reads_companions = True

    def forward(self, passes: Passes) -> Tensor:
        """Compare the target's embeddings with the companions'.

        Raises:
            ValueError: If the objective was not given the companions.
        """
        if passes.companions is None:
            raise ValueError("expected the companions' embeddings, got none; the engine must give them")
        present = passes.companions.any(dim=1)
        # Under autocast both may come in half precision, in which a distance near 0 has no digits left.
        dtype = torch.promote_types(passes.target_embeddings.dtype, torch.float32)
        distances = 1 - F.cosine_similarity(passes.target_embeddings.to(dtype), passes.companions.to(dtype))
        return (distances * present).sum() / present.sum().clamp(min=1)
