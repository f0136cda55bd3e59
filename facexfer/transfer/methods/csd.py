"""Cross-spectral distillation: put a NIR picture where the source network puts its visible-light companion.

A recognition network from visible light (VIS) already tells people apart; what it lacks in near infrared (NIR) is not a
new embedding space but the way from NIR pixels into the old one. Where a NIR picture n has a VIS companion, the frozen,
untouched source f_s says where in that space it belongs. With v and v' the companion and its mirror image,

    t = (u(f_s(v)) + u(f_s(v'))) / |...|,   u(x) = x / |x|,                                                    (1)
    L = a * CE(head(f(n)), y) + w * mean over n of (1 - cos(f(n), t))
      + b * mean over n and positions p of (1 - cos(F(n)_p, F_s(v)_p)),                                        (2)

where F and F_s are the maps of the deepest tapped layer, and v is mirrored where the training picture n is. An
embedding tells how far a picture is off; its maps tell where. Only pictures of the same shot count in the maps' term:
positions of different shots have nothing in common. The targets t and F_s(v) are worked out once, before training, so
a step has no second forward pass. The distances between people come from the millions of pictures that the source has
seen, and not from the few hundred people of the NIR set, which is what keeps both spectra comparable and visible light
intact; the labels y are not needed (a = 0).

The method is this project's own. Related: cross-modal distillation (Gupta et al., CVPR 2016), whose student has its own
layers, and cosine-regression distillation of embeddings, both within one spectrum.
"""

from facexfer.errors import InputError
from facexfer.transfer.companion_distance import CompanionDistance
from facexfer.transfer.companion_maps import CompanionMaps
from facexfer.transfer.stages import Need, Stage, WeightedTerm


def csd(
    weight: float = 20.0, identity_weight: float = 0.0, map_weight: float = 200.0, decay: float = 1e-4
) -> tuple[Stage, ...]:
    """Distil the source's view of visible-light companions into the target network.

    Args:
        weight: w, of the distance to the companion.
        identity_weight: a, of the classification loss; 0 reads no label.
        map_weight: b, of the distance between the maps; 0 reads no maps, as augmentation that moves pixels demands.
        decay: The factor of ``1/2 ||W||^2`` of backbone and head.

    Returns:
        One stage.

    Raises:
        InputError: If a weight is negative, or all are zero.

    Example:
        >>> [(stage.name, stage.classification) for stage in csd()]
        [('distil', 0.0)]
    """
    weights = (weight, identity_weight, map_weight)
    if min(weights) < 0 or max(weights) == 0:
        raise InputError(
            "csd: expected weights of at least 0 and one above it, got weight, identity_weight and map_weight = "
            f"{', '.join(f'{each:g}' for each in weights)}; the defaults are 20, 0 and 200"
        )
    terms = [WeightedTerm("companion", weight, lambda _: CompanionDistance(), CompanionDistance, chance=1.0)]
    if map_weight > 0:
        terms.append(WeightedTerm("maps", map_weight, lambda _: CompanionMaps(), CompanionMaps, chance=1.0))
    return (
        Stage(
            "distil",
            tuple(terms),
            backbone_decay=decay,
            head_decay=decay,
            needs=frozenset({Need.COMPANIONS, *([Need.COMPANION_MAPS] if map_weight > 0 else [])}),
            classification=identity_weight,
        ),
    )
