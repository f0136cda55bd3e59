"""The 95 % band of the true accept rate along a curve, from the curve's own counts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from facexfer.eval.curves import Curve
from facexfer.eval.intervals import identity_interval
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import genuine_above
from facexfer.eval.verification import OperatingPoint, make_point


def envelope_of_pairs(pairs: PairSet, curve: Curve) -> tuple[OperatingPoint, ...]:
    """The band with intervals by a bootstrap over identities.

    Args:
        pairs: What is compared.
        curve: Theirs.

    Returns:
        Points of the curve near 1, 2, ... 9 of every decade of the false accept rate; theirs is the achieved one.
    """
    points = envelope_of_curve(curve)
    trials = pairs.genuine_by_identity.cpu().numpy()
    accepted = genuine_above(pairs, [point.threshold or 0.0 for point in points])
    return tuple(
        replace(point, tar_ci95=identity_interval(hits.cpu().numpy(), trials), identities=int((trials > 0).sum()))
        for point, hits in zip(points, accepted, strict=True)
    )


def envelope_of_curve(curve: Curve) -> tuple[OperatingPoint, ...]:
    """The band with Wilson's intervals, which treat pairs as independent.

    Args:
        curve: Any.

    Returns:
        Points of the curve near 1, 2, ... 9 of every decade of the false accept rate; theirs is the achieved one.

    Example:
        >>> from facexfer.eval.curves import curve_of_scores
        >>> curve = curve_of_scores(np.array([0.9, 0.5]), np.linspace(0, 0.7, 100))
        >>> [round(point.far, 2) for point in envelope_of_curve(curve)]
        [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    """
    genuine, impostor = int(curve.true_accepts[-1]), int(curve.false_accepts[-1])
    places = {
        int(np.searchsorted(curve.false_accepts, rate * impostor + 1e-9, side="right")) - 1 for rate in _rates(impostor)
    }
    return tuple(
        make_point(
            float(curve.far[place]),
            float(curve.thresholds[place]),
            (int(curve.true_accepts[place]), genuine),
            (int(curve.false_accepts[place]), impostor),
        )
        for place in sorted(places)
        if curve.false_accepts[place] > 0
    )


def _rates(impostor_pairs: int) -> Sequence[float]:
    decades = range(-int(np.log10(impostor_pairs)) - 1, 0)
    return [digit * 10.0**decade for decade in decades for digit in range(1, 10)]
