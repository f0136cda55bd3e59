"""How far a network's deepest tapped maps of pictures are from the untouched source's maps of their companions."""

from torch import Tensor
from torch.nn import functional as F

from facexfer.transfer.precision import wide
from facexfer.transfer.stages import Passes, Term


class CompanionMaps(Term):
    """One minus the cosine of the channels of two maps at each position, of an image and of its companion.

    The mean is over positions and over the images that have a companion; the others, whose maps are zero, are left out.
    """

    reads_companion_maps = True

    def forward(self, passes: Passes) -> Tensor:
        """Compare the target's deepest tapped maps with the companions'.

        Raises:
            ValueError: If the objective was not given the companions' maps.
        """
        if passes.companion_maps is None:
            raise ValueError("expected the companions' maps, got none; the engine must give them")
        maps = wide(passes.target_maps[-1])
        companions = passes.companion_maps.to(maps.dtype)
        present = companions.flatten(1).any(dim=1)
        distances = (1 - F.cosine_similarity(maps, companions)).mean(dim=(1, 2))
        return (distances * present).sum() / present.sum().clamp(min=1)
