"""Accuracy on a list of pairs by cross-validation, as LFW's protocol has it (Huang et al., UMass TR 07-49, 2007)."""

from dataclasses import dataclass

import numpy as np

from facexfer.errors import InputError


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracy over folds.

    Attributes:
        mean: The mean over the folds, as a fraction.
        standard_error: Of that mean: the folds' standard deviation over the root of their number.
        folds: (F,) the accuracy on each fold.
        thresholds: (F,) the threshold that the other folds chose; a pair is accepted if its score is strictly above.
    """

    mean: float
    standard_error: float
    folds: tuple[float, ...]
    thresholds: tuple[float, ...]


def fold_accuracy(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> FoldAccuracy:
    """Measure accuracy on each fold with the threshold that is best on all others.

    Of several best thresholds the middle one is taken, halfway to the next score.

    Args:
        scores: (P,), higher meaning more alike.
        same: (P,) whether the pair is of one person.
        folds: (P,) the fold of each pair.

    Returns:
        The accuracy.

    Raises:
        InputError: If lengths differ, a score is not finite, or there are fewer than two folds.

    Example:
        >>> scores, same = np.array([0.9, 0.1, 0.8, 0.7]), np.array([True, False, True, False])
        >>> fold_accuracy(scores, same, np.array([0, 0, 1, 1])).folds
        (1.0, 0.5)
    """
    scores, same, folds = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=bool), np.asarray(folds)
    if not len(scores) == len(same) == len(folds):
        raise InputError(f"expected one label and one fold per score, got {len(scores)}, {len(same)} and {len(folds)}")
    if not np.isfinite(scores).all():
        raise InputError("expected finite scores, got NaN or infinite ones; check the embeddings")
    names = np.unique(folds)
    if len(names) < 2:
        raise InputError(f"expected at least two folds, got {len(names)}; LFW has ten")
    accuracies, thresholds = [], []
    for name in names:
        inside = folds == name
        threshold = _best_threshold(scores[~inside], same[~inside])
        accuracies.append(float(((scores[inside] > threshold) == same[inside]).mean()))
        thresholds.append(threshold)
    error = float(np.std(accuracies, ddof=1) / np.sqrt(len(names)))
    return FoldAccuracy(float(np.mean(accuracies)), error, tuple(accuracies), tuple(thresholds))


def _best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    values = np.unique(scores)
    # Between any two neighbouring scores, below all and above all.
    cuts = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1]]])
    genuine, impostor = np.sort(scores[same]), np.sort(scores[~same])
    right = len(genuine) - np.searchsorted(genuine, cuts, side="right") + np.searchsorted(impostor, cuts, side="right")
    best = np.flatnonzero(right == right.max())
    return float(cuts[best[len(best) // 2]])
