"""What a measured set keeps of its scores, so that a device's log can be compared with it without any picture."""

from collections.abc import Sequence

import numpy as np

from facexfer.eval.curves import Curve
from facexfer.eval.intervals import identity_interval
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import genuine_above
from facexfer.eval.shift import AcceptedScores
from facexfer.eval.verification import OperatingPoint

_SHARES = np.linspace(0.9, 0.1, 9)


def accepted_scores(pairs: PairSet, curve: Curve, point: OperatingPoint) -> AcceptedScores:
    """Summarise the accepted genuine pairs at an operating point, with covariances by identity.

    Args:
        pairs: What was compared.
        curve: Of these.
        point: A supported point of these.

    Returns:
        The rates at the threshold, and the scores above which 90, 80 ... 10 % of the accepted genuine pairs lie.
    """
    assert point.threshold is not None
    assert point.tar is not None
    assert point.achieved_far is not None
    scores = _scores(curve, point.threshold, _SHARES * point.tar)
    counts = [each.cpu().numpy().astype(np.float64) for each in genuine_above(pairs, [point.threshold, *scores])]
    trials = pairs.genuine_by_identity.cpu().numpy().astype(np.float64)
    hits, above = counts[0], np.stack(counts[1:], axis=1)
    accepted = max(hits.sum(), 1.0)
    shares = above.sum(axis=0) / accepted
    influence = (above - shares * hits[:, None])[hits > 0] / accepted
    identities = len(influence)
    covariance = influence.T @ influence * identities / max(identities - 1, 1)
    return AcceptedScores(
        point.threshold, point.tar, identity_interval(hits, trials), point.achieved_far, np.array(scores), shares,
        covariance, identities,
    )  # fmt: skip


def _scores(curve: Curve, threshold: float, shares: Sequence[float] | np.ndarray) -> list[float]:
    """The curve's thresholds that accept given shares of the genuine pairs, at or above a lowest threshold."""
    places = np.minimum(np.searchsorted(curve.tar, shares), len(curve.thresholds) - 2)
    return [max(threshold, float(score)) for score in curve.thresholds[places]]
