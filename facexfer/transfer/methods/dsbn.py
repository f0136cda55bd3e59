"""Domain-specific BatchNorm (DSBN; Chang et al., CVPR 2019, arXiv 1906.03950), with the source's own branch as it is.

Two domains share every convolution and differ in BatchNorm alone: statistics, scale and shift. The paper trains both
branches; here the VIS branch is the untouched source, so the convolutions stay frozen and the NIR branch is trained:

    L = a * CE(head(f(n)), y) + w * mean over n of (1 - cos(f(n), t)),                                          (1)

over BatchNorm's scales and shifts, with t as in `facexfer.transfer.methods.csd`. The modality chooses the branch: serve
two files, the source for VIS pictures and this run's network for NIR ones, which differ in BatchNorm alone.
"""

from facexfer.errors import InputError
from facexfer.transfer.companion_distance import CompanionDistance
from facexfer.transfer.partial import batchnorm_layers
from facexfer.transfer.stages import Need, Stage, StageSetting, Term, WeightedTerm


def dsbn(identity_weight: float = 1.0, weight: float = 0.0, decay: float = 1e-4) -> tuple[Stage, ...]:
    """Train BatchNorm alone.

    Args:
        identity_weight: a, of the classification loss; 0 reads no label.
        weight: w, of the distance to the companion; 0 needs no companions.
        decay: The factor of ``1/2 ||W||^2`` of the head.

    Returns:
        One stage.

    Raises:
        InputError: If a weight is negative, or both are zero.

    Example:
        >>> [(len(stage.terms), stage.classification) for stage in dsbn()]
        [(0, 1.0)]
    """
    if weight < 0 or identity_weight < 0 or weight + identity_weight == 0:
        raise InputError(
            "dsbn: expected weights of at least 0 and one above it, got identity_weight = "
            f"{identity_weight} and weight = {weight}; the defaults are 1 and 0"
        )

    def make(setting: StageSetting) -> Term:
        return CompanionDistance()

    return (
        Stage(
            "batchnorm",
            (WeightedTerm("companion", weight, make, CompanionDistance, chance=1.0),) if weight > 0 else (),
            trained_part=batchnorm_layers,
            head_decay=decay,
            needs=frozenset({Need.COMPANIONS}) if weight > 0 else frozenset(),
            classification=identity_weight,
        ),
    )
