"""How far a network puts pictures from where the untouched source puts their companions."""

from torch import Tensor
from torch.nn import functional as F

from facexfer.transfer.precision import wide
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
        # In half precision a distance near 0 has no digits left.
        embeddings = wide(passes.target_embeddings)
        distances = 1 - F.cosine_similarity(embeddings, passes.companions.to(embeddings.dtype))
        return (distances * present).sum() / present.sum().clamp(min=1)
