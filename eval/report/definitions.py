"""The definitions that every report carries; those of the metrics stand with them in `facexfer.eval.metrics`."""

from facexfer.eval.metrics import metric_definitions

DEFINITIONS = {
    "threshold": (
        "With N impostor pairs and k = floor(FAR x N + 1e-9), the threshold is the (k+1)-th highest impostor "
        "score; a pair is accepted if its score is strictly above it. The achieved FAR never exceeds the "
        "target."
    ),
    "TAR": ("Accepted genuine pairs of all genuine pairs, at that threshold."),
    "pairs": (
        "Within one set every unordered pair counts once. Between a gallery and probes, every pair counts except those "
        "of the same capture. A picture listed twice counts once and is never paired with itself, and two pictures of "
        "the same capture, person and modality form no pair. Scores are cosines in float32."
    ),
    "interval": (
        "95 %. By identity: a bootstrap over identities, both sides of a pair, turned into the number of "
        "independent pairs that these amount to, and Wilson's interval for that many. Of TAR at a target it counts "
        "that the threshold was found on the same people (up to 6 million false accepts; beyond, and at a "
        "threshold given, the threshold is taken as it is). Of FAR it is that of the threshold shown. Wilson: "
        "as if all pairs were independent and the threshold given."
    ),
    "rules": ("Rule of three: at least 3 false accepts must be expected at the target. Rule of thirty: at least 30."),
    "failures": ("Photos without a crop: every pair with one counts as rejected, genuine or not; thresholds stay."),
    "identification": (
        "Each identity is enrolled with its first capture, or with the mean of half of its captures; no probe "
        "is of an enrolled capture. Rank: entries at least as alike as the right one. Open set: half of the "
        "identities are not enrolled; DIR is the share of the others' probes whose first entry is right and "
        "above the threshold."
    ),
    "difference": (
        "Each network at its own threshold. The interval is that of 1,000 draws of a bootstrap over "
        "identities, the same for both networks, with thresholds found again in each."
    ),
    "extrapolated": (
        "A FAR below what the pairs support, not measured. The 1,000 highest impostor scores (the highest hundredth, "
        "if that is fewer) follow a generalised Pareto distribution on the scale -log(1 - score^2): peaks over "
        "threshold. The interval is that of the FAR at the threshold shown, by identity; TAR there is measured. "
        "Refused where the tail does not fit, a few people make most of it, or the target lies more than 30 times "
        "below the pairs."
    ),
    "slice": (
        "Pairs whose images both have the value; against a gallery, whose probe has it. At the thresholds of the whole."
    ),
}


def all_definitions() -> dict[str, str]:
    """These definitions and those of the metrics."""
    return DEFINITIONS | metric_definitions()
