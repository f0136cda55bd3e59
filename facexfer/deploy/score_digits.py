"""What the digits of a log's scores tell: which attempts were accepted for sure, and whether the device is stuck."""

from dataclasses import dataclass

import numpy as np

from facexfer.deploy.contract import SAME_SCORE
from facexfer.deploy.score_log import ScoreLog
from facexfer.eval.shift import AcceptedScores, ShapeShift, Shift, rate_shift, shape_shift

COARSEST = 0.01
"""Scores that may be further than this from the device's are not compared: whatever is assumed between two of them."""
_ONE_VALUE = 0.95
"""The share of attempts, every user counting alike, with one written score of which a device is taken as stuck."""
_OFTEN = 0.5
"""A written score that more of a working device's attempts may have tells nothing of a stuck one."""


@dataclass(frozen=True)
class Decided:
    """What the digits written tell of each attempt.

    Attributes:
        above: (N,) bool, the score is above the threshold for sure.
        unknown: (N,) bool, it cannot be told from the threshold.
        least: (N,) bool, accepted for sure: by the device's own word where it is logged.
        most: (N,) bool, possibly accepted.
    """

    above: np.ndarray
    unknown: np.ndarray
    least: np.ndarray
    most: np.ndarray

    @property
    def open(self) -> np.ndarray:
        """(N,) bool, accepted or rejected, nobody knows."""
        return np.asarray(self.least != self.most)


def decide(seen: ScoreLog, threshold: float) -> Decided:
    """Tell from the scores as they were written which attempts are above a threshold.

    Args:
        seen: The log.
        threshold: The device's.
    """
    unknown = ~told(seen, threshold)
    above = (seen.scores > threshold) & ~unknown
    if seen.accepted is not None:
        return Decided(above, unknown, seen.accepted, seen.accepted)
    return Decided(above, unknown, above, above | unknown)


def told(seen: ScoreLog, threshold: float) -> np.ndarray:
    """Find which scores can be told from the threshold in the digits written.

    Args:
        seen: The log.
        threshold: The device's.

    Returns:
        (N,) bool: further from it than half of the last digit, and than two ways of working out one score.
    """
    return np.abs(seen.scores - threshold) > seen.rounding + SAME_SCORE


def possible_rate(decided: Decided, users: np.ndarray, measured: AcceptedScores, impostor_share: float) -> Shift:
    """Compare the accept rate, whichever of the possible ones it is, with the prediction.

    Args:
        decided: The attempts.
        users: (N,) int64, whose.
        measured: At the device's threshold.
        impostor_share: The largest share of attempts by others, as a fraction.

    Returns:
        The middle of the possible rates, with an interval over all of them; p is the larger one of the two ends, and 1
        where the prediction lies between them.
    """
    least = rate_shift(decided.least, users, measured, impostor_share)
    most = rate_shift(decided.most, users, measured, impostor_share)
    apart = most.observed < least.expected[0] or least.observed > least.expected[1]
    return Shift(
        (least.observed + most.observed) / 2,
        (least.observed_ci95[0], most.observed_ci95[1]),
        least.expected,
        max(least.p_value, most.p_value) if apart else 1.0,
    )


def spread_shape(seen: ScoreLog, users: np.ndarray, measured: AcceptedScores) -> ShapeShift:
    """Compare the accepted scores, each anywhere within what was rounded off, by draws of a fixed seed.

    Rounded scores heap up beside the threshold and the bundle's scores, which are not rounded: with two decimals and
    many users that alone would be a shift.

    Args:
        seen: The log.
        users: (N,) int64, whose attempts they are.
        measured: At the device's threshold.
    """
    scores = seen.scores + np.random.default_rng(0).uniform(-seen.rounding, seen.rounding, len(seen.scores))
    above = scores > measured.threshold
    return shape_shift(scores[above], users[above], measured)


@dataclass(frozen=True)
class Repeated:
    """A score that nearly all attempts have.

    Attributes:
        score: As it was written.
        count: Of how many attempts.
        is_alarm: Whether a working device has it in half of its attempts at the most; if not, it is rounded so far that
            nothing follows.
    """

    score: float
    count: int
    is_alarm: bool


def find_repeated(
    seen: ScoreLog, users: np.ndarray, measured: AcceptedScores, impostor_share: float
) -> Repeated | None:
    """Find one written score in at least 95 % of the attempts, every user counting alike.

    Scores are continuous: few of any device's lie within one fine digit, and the bundle says how many may lie within a
    coarse one. Where that is half of them, the mean over 20 independent users is 95 % or more in at most one of 10,000
    logs (Hoeffding, Journal of the American Statistical Association 1963, theorem 1), so this takes nothing from the
    level of the tests.

    Args:
        seen: The log.
        users: (N,) int64, whose attempts they are; at least 20.
        measured: At the device's threshold.
        impostor_share: The largest share of attempts by others, as a fraction.

    Returns:
        The score; None where no score is so frequent.
    """
    values, counts = np.unique(seen.scores, return_counts=True)
    score, count = float(values[counts.argmax()]), int(counts.max())
    _, user = np.unique(users, return_inverse=True)
    shares = np.bincount(user, weights=seen.scores == score) / np.bincount(user)
    if shares.mean() < _ONE_VALUE:
        return None
    is_fine = seen.rounding <= COARSEST
    return Repeated(score, count, is_fine or _largest_share(score, seen.rounding, measured, impostor_share) <= _OFTEN)


def _largest_share(score: float, rounding: float, measured: AcceptedScores, impostor_share: float) -> float:
    """The largest share of attempts that a working device writes as one score, by the bundle's nine shares.

    Of the accepted scores it is what lies between the nearest of the nine on both sides; those below the threshold and
    those of impostors may all lie there.
    """
    low, high = score - rounding, score + rounding
    below, beyond = measured.above[measured.scores <= low], measured.above[measured.scores >= high]
    of_accepted = (below.min() if len(below) else 1.0) - (beyond.max() if len(beyond) else 0.0)
    accepted = measured.genuine_rate * of_accepted if high > measured.threshold else 0.0
    rejected = 1 - measured.genuine_rate if low <= measured.threshold else 0.0
    return float(accepted + rejected + impostor_share)
