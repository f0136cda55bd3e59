"""Cross-spectral distillation: put a NIR picture where the source network puts its visible-light companion.

A recognition network from visible light (VIS) already tells people apart; what it lacks in near infrared (NIR) is not a
new embedding space but the way from NIR pixels into the old one. Where a NIR picture n has a VIS companion, the frozen,
untouched source f_s says where in that space it belongs. With v and v' the companion and its mirror image,

    t = (u(f_s(v)) + u(f_s(v'))) / |...|,   u(x) = x / |x|,                                                    (1)
    L = a * CE(head(f(n)), y) + w * mean over n of (1 - cos(f(n), t)).                                         (2)

The targets t are worked out once, before training: a step has no second forward pass and costs what plain fine-tuning
costs. The distances between people come from the millions of pictures that the source has seen, and not from the few
hundred people of the NIR set, which is what keeps both spectra comparable and visible light intact; the labels y are
not needed (a = 0).

The method is this project's own. Related: cross-modal distillation (Gupta et al., CVPR 2016), whose student has its own
layers, and cosine-regression distillation of embeddings, both within one spectrum.
"""

from facexfer.errors import InputError
from facexfer.transfer.companion_distance import CompanionDistance
from facexfer.transfer.stages import Need, Stage, StageSetting, Term, WeightedTerm


def csd(weight: float = 20.0, identity_weight: float = 0.0, decay: float = 1e-4) -> tuple[Stage, ...]:
    """Distil the source's view of visible-light companions into the target network.

    Args:
        weight: w, of the distance to the companion.
        identity_weight: a, of the classification loss; 0 reads no label.
        decay: The factor of ``1/2 ||W||^2`` of backbone and head.

    Returns:
        One stage.

    Raises:
        InputError: If a weight is negative, or both are zero.

    Example:
        >>> [(stage.name, stage.classification) for stage in csd()]
        [('distil', 0.0)]
    """
    if weight < 0 or identity_weight < 0 or weight + identity_weight == 0:
        raise InputError(
            f"csd: expected weights of at least 0 and one above it, got weight = {weight} and identity_weight = "
            f"{identity_weight}; the defaults are 20 and 0"
        )

    def make(setting: StageSetting) -> Term:
        return CompanionDistance()

    return (
        Stage(
            "distil",
            (WeightedTerm("companion", weight, make),),
            backbone_decay=decay,
            head_decay=decay,
            needs=frozenset({Need.COMPANIONS}),
            classification=identity_weight,
        ),
    )
