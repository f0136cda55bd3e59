"""Curves over all thresholds, and the metrics read from them: ROC, DET, AUC and equal error rate."""

from dataclasses import dataclass

import numpy as np

from facexfer.errors import InputError


@dataclass(frozen=True)
class Curve:
    """How many pairs are accepted at falling thresholds, from nobody to everybody.

    Attributes:
        thresholds: (T,) falling; a pair is accepted if its score is strictly above. The last is minus infinity.
        true_accepts: (T,) accepted genuine pairs.
        false_accepts: (T,) accepted impostor pairs.
        binned: Whether the thresholds are the edges of bins, with scores between them.
    """

    thresholds: np.ndarray
    true_accepts: np.ndarray
    false_accepts: np.ndarray
    binned: bool = False

    @property
    def tar(self) -> np.ndarray:
        """The true accept rate at each threshold, as fractions."""
        return np.asarray(self.true_accepts / self.true_accepts[-1])

    @property
    def far(self) -> np.ndarray:
        """The false accept rate at each threshold, as fractions."""
        return np.asarray(self.false_accepts / self.false_accepts[-1])


@dataclass(frozen=True)
class Bounded:
    """A metric, and how far the true one can be away because scores were counted in bins: 0 from single scores.

    Attributes:
        value: As a fraction.
        error: At most so far off.
    """

    value: float
    error: float


def curve_of_scores(genuine: np.ndarray, impostor: np.ndarray) -> Curve:
    """Make the exact curve, with a threshold at every distinct score.

    Args:
        genuine: (P,) scores, higher meaning more alike.
        impostor: (N,) scores.

    Returns:
        The curve.

    Raises:
        InputError: If one kind of score is missing.

    Example:
        >>> curve = curve_of_scores(np.array([0.9, 0.5]), np.array([0.5, 0.1]))
        >>> curve.tar.tolist(), curve.far.tolist()
        ([0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0])
    """
    if not len(genuine) or not len(impostor):
        raise InputError(f"expected scores of both kinds, got {len(genuine)} genuine and {len(impostor)} impostor ones")
    thresholds = np.unique(np.concatenate([genuine, impostor]))[::-1]
    counts = []
    for scores in (np.sort(genuine), np.sort(impostor)):
        accepted = len(scores) - np.searchsorted(scores, thresholds, side="right")
        counts.append(np.append(accepted, len(scores)))
    return Curve(np.append(thresholds, -np.inf), counts[0], counts[1])


def curve_of_counts(edges: np.ndarray, genuine: np.ndarray, impostor: np.ndarray) -> Curve:
    """Make a curve from counts of scores in bins, exact at the bins' edges.

    Args:
        edges: (B + 1,) rising; all scores lie above the first and at most at the last.
        genuine: (B,) genuine pairs with a score above an edge and at most at the next.
        impostor: (B,) impostor pairs likewise.

    Returns:
        The curve.

    Example:
        >>> curve = curve_of_counts(np.array([0.0, 0.5, 1.0]), np.array([1, 3]), np.array([3, 1]))
        >>> curve.tar.tolist(), curve.far.tolist()
        ([0.0, 0.75, 1.0], [0.0, 0.25, 1.0])
    """
    counts = [np.concatenate([[0], np.cumsum(each[::-1])]) for each in (genuine, impostor)]
    return Curve(np.append(edges[-1:0:-1], -np.inf), counts[0], counts[1], binned=True)


def area_under_roc(curve: Curve) -> Bounded:
    """Compute AUC: how likely a genuine pair scores above an impostor one, ties counting half.

    Args:
        curve: Of single scores: exact. Of counts: pairs of one bin count half, and the error says what that can change.

    Returns:
        The area under the ROC curve.

    Example:
        >>> area_under_roc(curve_of_scores(np.array([0.9, 0.5]), np.array([0.5, 0.1]))).value
        0.875
    """
    wide = np.diff(curve.far)
    area = float((wide * (curve.tar[1:] + curve.tar[:-1])).sum() / 2)
    # From single scores a step in both directions is a tie, which counts one half.
    slack = 0.0 if not curve.binned else float((wide * np.diff(curve.tar)).sum() / 2)
    return Bounded(area, slack)


def equal_error_rate(curve: Curve) -> Bounded:
    """Find where as many impostor pairs are accepted as genuine ones are rejected, on the line between two thresholds.

    Args:
        curve: Any.

    Returns:
        The rate; its error is half the larger step there, 0 where the curve passes through the point.

    Example:
        >>> equal_error_rate(curve_of_scores(np.array([0.9, 0.8, 0.3]), np.array([0.5, 0.2, 0.1]))).value
        0.3333333333333333
    """
    misses, false = 1 - curve.tar, curve.far
    after = int(np.argmax(false >= misses))
    before = max(after - 1, 0)
    gap_before, gap_after = misses[before] - false[before], misses[after] - false[after]
    part = 0.0 if gap_before == gap_after else gap_before / (gap_before - gap_after)
    rate = float(false[before] + part * (false[after] - false[before]))
    if gap_after == 0 or gap_before == 0:
        return Bounded(rate, 0.0)
    step = max(false[after] - false[before], misses[before] - misses[after])
    return Bounded(rate, float(step) / 2)
