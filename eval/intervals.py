"""Confidence intervals of proportions over pairs, which share identities and are therefore not independent."""

import math
from dataclasses import dataclass

import numpy as np

from facexfer.errors import InputError

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class ThresholdNoise:
    """How a proportion moves because its threshold was found on scores of the same identities.

    Attributes:
        influence: (I,) of each identity, on the proportion.
        twice_counted: The part of the influences' squares that is noise of two identities and counted with both.
    """

    influence: np.ndarray
    twice_counted: float


def wilson_interval(accepted: float, pairs: float, deviations: float = _Z95) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion (Wilson, JASA 1927).

    It takes the pairs as independent. Pairs that share an identity are not, so for verification it is too narrow;
    treat it as the least uncertainty that there can be.

    Args:
        accepted: How many of them; need not be whole.
        pairs: Of how many, above 0; need not be whole.
        deviations: The half width in standard deviations.

    Returns:
        (low, high) as fractions.

    Raises:
        InputError: If the counts are no proportion.

    Example:
        >>> [round(bound, 4) for bound in wilson_interval(8, 10)]
        [0.4902, 0.9433]
    """
    if not 0 <= accepted <= pairs or pairs == 0:
        raise InputError(f"expected 0 to n of n > 0 pairs, got {accepted} of {pairs}; check the counts")
    share = accepted / pairs
    spread = deviations**2 / pairs
    centre = (share + spread / 2) / (1 + spread)
    half = deviations / (1 + spread) * math.sqrt(share * (1 - share) / pairs + spread / (4 * pairs))
    # At 0 and at n of n the bound is exact, rounding or not.
    low = 0.0 if accepted == 0 else max(0.0, centre - half)
    high = 1.0 if accepted == pairs else min(1.0, centre + half)
    return low, high


def identity_interval(
    accepted: np.ndarray,
    pairs: np.ndarray,
    pair_noise: float | None = None,
    total: tuple[int, int] | None = None,
    threshold: ThresholdNoise | None = None,
) -> tuple[float, float]:
    """A 95 % interval of a proportion of pairs by a bootstrap over identities.

    Each draw of the bootstrap (the Bayesian one; Rubin, Annals of Statistics 1981) gives every identity an exponential
    weight of mean and variance 1; a pair has the weights of its identities, on both sides, to first order. The
    variance over the draws then has a closed form, the sum of the identities' squared influences, so none need be
    drawn. It tells how many independent pairs they are equivalent to, and the interval is Wilson's for that many, with
    Student's t for few effective identities: it keeps to 0..1 and holds for few errors, where percentiles of draws do
    not. For impostor pairs the bootstrap counts the noise of each two identities twice (Owen, Annals of Applied
    Statistics 2007); ``pair_noise`` takes it out once.

    Args:
        accepted: (I,) accepted pairs of each identity. For impostor pairs, a pair counts for both of its identities.
        pairs: (I,) all pairs of each identity, likewise; those without any count by how they move the threshold.
        pair_noise: For impostor pairs: the sum over unordered pairs of identities of the squared residuals, accepted
            minus expected pairs (`residual_squares`), 0 if unknown, which widens the interval. None for genuine pairs.
        total: (accepted, all) pairs, where that is not the sum over identities (of impostor pairs it is twice).
        threshold: Where the threshold was not fixed beforehand, what that adds (`threshold_noise`).

    Returns:
        (low, high) as fractions.

    Example:
        >>> accepted, pairs = np.array([10.0, 10.0, 0.0, 10.0]), np.array([10.0, 10.0, 10.0, 10.0])
        >>> [round(bound, 2) for bound in identity_interval(accepted, pairs)]
        [0.13, 0.98]
        >>> [round(bound, 2) for bound in wilson_interval(30, 40)]
        [0.6, 0.86]
    """
    accepted, pairs = np.asarray(accepted, dtype=np.float64), np.asarray(pairs, dtype=np.float64)
    has_pairs = pairs > 0
    moved = np.zeros(len(pairs)) if threshold is None else threshold.influence
    # Those without a pair move the threshold, and no more: they are not among those whose pairs are counted.
    of_others = moved[~has_pairs & (moved != 0)]
    accepted, pairs, moved = accepted[has_pairs], pairs[has_pairs], moved[has_pairs]
    identities = len(pairs)
    hits, count = total if total is not None else (float(accepted.sum()), float(pairs.sum()))
    share = hits / count
    if share in (0.0, 1.0) or identities < 2:
        # Nothing varies, so nothing tells how much the pairs of an identity agree: take them as one.
        worth = float(identities if pair_noise is None else identities * (identities - 1) / 2)
        freedom = float(max(identities - 1, 1))
    else:
        variance, freedom = _variance((accepted - share * pairs) / count + moved, identities)
        if len(of_others):
            more, its_freedom = _variance(of_others, identities + len(of_others))
            freedom = (variance + more) ** 2 / (variance**2 / freedom + more**2 / its_freedom)
            variance += more
        if pair_noise is not None:
            variance -= pair_noise / count**2
        if threshold is not None:
            variance -= threshold.twice_counted
        worth = share * (1 - share) / max(variance, share * (1 - share) / count)
    worth = max(1.0, min(worth, count))
    # Imported here: it takes half of the time in which a command starts, and each process of --jobs starts one.
    from scipy import stats

    return wilson_interval(share * worth, worth, float(stats.t.ppf(0.975, freedom)))


def _variance(influence: np.ndarray, identities: int) -> tuple[float, float]:
    """The variance that influences cause, of so many identities in all, and its degrees of freedom."""
    squares = math.fsum(influence**2)
    # Few identities that cause most of the variance tell little about it (Satterthwaite, Biometrics 1946).
    uneven = math.fsum(influence**4) - squares**2 / identities
    freedom = max(1.0, min(identities - 1.0, 2 * squares**2 / uneven if uneven > 0 else math.inf))
    return squares * identities / (identities - 1), freedom


def threshold_noise(
    accepted: np.ndarray, pairs: np.ndarray, pair_noise: float, total: tuple[int, int], slope: float
) -> ThresholdNoise:
    """How the noise of a false accept rate moves the true accept rate at a target, to first order.

    The more impostor scores of some identity happen to be high, the higher the threshold of a target, and the fewer
    genuine pairs are accepted.

    Args:
        accepted: (I,) accepted impostor pairs of each identity; a pair counts for both of its identities.
        pairs: (I,) all impostor pairs of each identity, likewise.
        pair_noise: As for `identity_interval`, of impostor pairs.
        total: (accepted, all) impostor pairs, some accepted.
        slope: By how much the true accept rate rises as the logarithm of the false accept rate does.

    Returns:
        What `identity_interval` adds.
    """
    residuals = np.asarray(accepted, dtype=np.float64) - total[0] / total[1] * np.asarray(pairs, dtype=np.float64)
    return ThresholdNoise(-slope * residuals / total[0], pair_noise * (slope / total[0]) ** 2)


def residual_squares(
    accepted: np.ndarray, expected: np.ndarray, times: np.ndarray, share: float, all_squares: float
) -> float:
    """Sum the squared residuals over unordered pairs of identities, given those that have an accepted pair.

    Args:
        accepted: (M,) accepted impostor pairs between two identities, for each two that have any.
        expected: (M,) all impostor pairs between the same two.
        times: (M,) how many such two there are with these counts.
        share: Accepted of all.
        all_squares: The sum of squared numbers of pairs over all unordered pairs of identities.

    Returns:
        ``sum (a_ij - share * t_ij)^2``.

    Example:
        >>> residual_squares(np.array([2.0]), np.array([4.0]), np.array([1]), 0.25, 4.0**2 + 4.0**2)
        2.0
    """
    return math.fsum(times * (accepted**2 - 2 * share * accepted * expected)) + share**2 * all_squares


def fewest_pairs(far: float, errors: int) -> int:
    """How many impostor pairs are needed until a given number of false accepts is expected.

    3 is the rule of three (with no error seen, 3 / N bounds the rate from above at 95 %), 30 Doddington's rule of
    thirty (the true rate is within 30 % of the measured one at 90 %; Speech Communication 2000).

    Args:
        far: The target.
        errors: 3 or 30.

    Returns:
        The number of pairs.

    Example:
        >>> fewest_pairs(1e-6, 30)
        30000000
    """
    return math.ceil(errors / far - 1e-6)
