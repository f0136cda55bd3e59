"""Has what a device logs moved away from what was measured? Tests that know that one user's attempts are alike.

Attempts of one user, and pairs of one identity, share a face and are not independent: every variance here is summed
over users or identities first (a cluster-robust variance), with Student's t for few of them.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from facexfer.eval.intervals import identity_interval

_DRAWS = 20_000
_95 = 0.975


@dataclass(frozen=True)
class AcceptedScores:
    """What a measured set says of genuine pairs at one threshold.

    Attributes:
        threshold: A pair is accepted if its score is strictly above.
        genuine_rate: The share of genuine pairs accepted.
        genuine_ci95: Its 95 % interval at this very threshold, by identity.
        impostor_rate: The share of impostor pairs accepted.
        scores: (J,) rising, at or above the threshold.
        above: (J,) which share of the accepted genuine pairs is above each of them.
        covariance: (J, J) of `above`, by identity.
        identities: How many identities have an accepted pair.
    """

    threshold: float
    genuine_rate: float
    genuine_ci95: tuple[float, float]
    impostor_rate: float
    scores: np.ndarray
    above: np.ndarray
    covariance: np.ndarray
    identities: int


@dataclass(frozen=True)
class Shift:
    """One quantity, as it was logged and as it was measured before.

    Attributes:
        observed: In the log.
        observed_ci95: Its 95 % interval, by user.
        expected: From and to what the measured set predicts it; equal where it predicts one value.
        p_value: Two-sided: how likely is a distance like this if nothing has moved?
    """

    observed: float
    observed_ci95: tuple[float, float]
    expected: tuple[float, float]
    p_value: float


@dataclass(frozen=True)
class ShapeShift(Shift):
    """The share of accepted scores above the score at which log and measured set differ most.

    Attributes:
        score: That score.
        distance: The largest difference between the two shares over all scores that were looked at (Kolmogorov and
            Smirnov's statistic on those).
    """

    score: float
    distance: float


def shares_by_group(above: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The share of attempts that each question holds for, and the shares' covariance by group.

    Args:
        above: (N, J) bool, J questions to each attempt.
        groups: (N,) int64, whose attempt it is.

    Returns:
        (J,) shares, their (J, J) covariance with the factor G / (G - 1) of few groups, and G.

    Example:
        >>> shares, covariance, groups = shares_by_group(np.array([[1], [1], [0], [0]]), np.array([0, 0, 1, 1]))
        >>> shares.tolist(), covariance.tolist(), groups
        ([0.5], [[0.25]], 2)
    """
    shares = above.mean(axis=0)
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max()) + 1
    sums = np.zeros((count, above.shape[1]))
    np.add.at(sums, group, above - shares)
    influence = sums / len(above)
    return shares, influence.T @ influence * count / max(count - 1, 1), count


def rate_shift(accepted: np.ndarray, users: np.ndarray, measured: AcceptedScores, impostor_share: float) -> Shift:
    """Compare the share of attempts accepted with what the measured rates predict.

    The log does not say which attempts are genuine. If at most a share s of them is not, the prediction lies between
    ``(1 - s) TAR + s FAR`` and ``TAR``. The interval of the difference joins those of the two rates (square-and-add;
    Newcombe, Statistics in Medicine 1998), each by user or identity.

    Args:
        accepted: (N,) bool.
        users: (N,) int64.
        measured: At the device's threshold.
        impostor_share: The largest share of attempts by others, as a fraction.

    Returns:
        The comparison; p is 1 where the rate lies within the prediction.
    """
    _, user = np.unique(users, return_inverse=True)
    hits, attempts = np.bincount(user, weights=accepted), np.bincount(user).astype(np.float64)
    low, high = identity_interval(hits, attempts)
    rate = float(accepted.mean())
    least = (1 - impostor_share) * measured.genuine_rate + impostor_share * measured.impostor_rate
    expected = min(least, measured.genuine_rate), max(least, measured.genuine_rate)
    nearest = min(max(rate, expected[0]), expected[1])
    side = measured.genuine_ci95[0] if rate < nearest else measured.genuine_ci95[1]
    half = math.hypot((high if rate < nearest else low) - rate, side - measured.genuine_rate)
    return Shift(rate, (low, high), expected, _two_sided(rate - nearest, half))


def shape_shift(scores: np.ndarray, users: np.ndarray, measured: AcceptedScores, seed: int = 0) -> ShapeShift:
    """Compare the accepted scores with the accepted genuine scores of the measured set.

    Above the threshold there are hardly any impostors, whatever their share of the attempts, so this needs no guess of
    it. At each of the measured set's scores the difference of the two shares is put over its standard error, from users
    and identities; the largest is compared with the largest of a multivariate t with their correlations, by draws.

    Args:
        scores: (N,) of the accepted attempts.
        users: (N,) int64.
        measured: At the device's threshold.
        seed: Of the draws.

    Returns:
        The comparison at the score of the largest standardised difference.
    """
    above, of_log, groups = shares_by_group(scores[:, None] > measured.scores, users)
    both = of_log + measured.covariance
    kept = np.flatnonzero(np.diag(both) > 0)
    differences = above - measured.above
    if not len(kept):
        place, p_value, half = 0, 1.0, 0.0
    else:
        errors = np.sqrt(np.diag(both)[kept])
        standardised = np.abs(differences[kept]) / errors
        # Welch and Satterthwaite's: few users or identities tell little about the variance.
        freedom = np.diag(both)[kept] ** 2 / (
            np.diag(of_log)[kept] ** 2 / max(groups - 1, 1)
            + np.diag(measured.covariance)[kept] ** 2 / max(measured.identities - 1, 1)
        )
        largest = int(standardised.argmax())
        place = int(kept[largest])
        p_value = _p_of_largest(standardised[largest], both[np.ix_(kept, kept)], float(freedom.min()), seed)
        half = _t_quantile(max(groups - 1, 1)) * math.sqrt(of_log[place, place])
    observed, expected = float(above[place]), float(measured.above[place])
    bounds = max(0.0, observed - half), min(1.0, observed + half)
    distance = float(np.abs(differences).max())
    return ShapeShift(observed, bounds, (expected, expected), p_value, float(measured.scores[place]), distance)


def time_trend(values: np.ndarray, times: np.ndarray, users: np.ndarray) -> Shift:
    """Estimate how much a value changes from the log's first to its last attempt, on a straight line.

    Args:
        values: (N,) such as the accepted scores.
        times: (N,) in any unit, not all equal.
        users: (N,) int64.

    Returns:
        The change; nothing is expected to change.

    Example:
        >>> change = time_trend(np.array([0.9, 0.8, 0.8, 0.7]), np.array([0.0, 1, 1, 2]), np.array([0, 1, 2, 3]))
        >>> round(change.observed, 3)
        -0.2
    """
    centred = times - times.mean()
    squares = float(centred @ centred)
    span = float(np.ptp(times))
    slope = float(centred @ values) / squares
    residuals = values - values.mean() - slope * centred
    _, user = np.unique(users, return_inverse=True)
    influence = np.bincount(user, weights=centred * residuals) / squares
    freedom = max(len(influence) - 1, 1)
    error = math.sqrt(float(influence @ influence) * (freedom + 1) / freedom) * span
    change, half = slope * span, _t_quantile(freedom) * error
    # Of equal values only rounding is left.
    moves = np.ptp(values) > 0 and error > 0
    p_value = 2 * float(stats.t.sf(abs(change) / error, freedom)) if moves else 1.0
    return Shift(change, (change - half, change + half), (0.0, 0.0), p_value)


def _two_sided(difference: float, half: float) -> float:
    """The p-value of a difference, from the half-width of its 95 % interval on the side of 0."""
    if difference == 0:
        return 1.0
    return 2 * float(stats.norm.sf(abs(difference) / half * stats.norm.ppf(_95))) if half > 0 else 0.0


def _p_of_largest(largest: float, covariance: np.ndarray, freedom: float, seed: int) -> float:
    errors = np.sqrt(np.diag(covariance))
    shape = covariance / np.outer(errors, errors)
    joint = stats.multivariate_t(shape=shape, df=freedom, allow_singular=True, seed=np.random.default_rng(seed))
    drawn = np.abs(joint.rvs(_DRAWS).reshape(_DRAWS, -1)).max(axis=1)
    # One more, as of a permutation test: p is never 0.
    return float((np.count_nonzero(drawn >= largest) + 1) / (_DRAWS + 1))


def _t_quantile(freedom: int) -> float:
    return float(stats.t.ppf(_95, freedom))
