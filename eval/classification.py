"""Accuracy of image classifiers: top-1, top-5 and per class, as pure functions on scores.

A tie is a miss: the true class counts as among the first k only if fewer than k other classes score as high or higher,
so a network that gives every class the same score has no accuracy to show for it.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from facexfer.registry import Registry

CLASSIFICATION_METRICS: Registry[Callable[[np.ndarray, np.ndarray], float]] = Registry(
    "classification metric", "classification_metrics"
)
"""Name in a run's figures -> (logits (N, K), labels (N,)) -> number; all of them are measured in every image run."""


_CROSS_ENTROPY = "test/classification"


def is_loss(figure: str) -> bool:
    """Whether a figure is a loss, better when it is low; the others are rates, shown in percent."""
    return figure == _CROSS_ENTROPY


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """The fraction of images whose true class is among the k best.

    Args:
        scores: (N, K), higher is better.
        labels: (N,) in 0..K-1.
        k: 1 or more; with k >= K every image counts.

    Returns:
        A fraction.

    Raises:
        ValueError: If there are no images, the shapes do not fit, or k is below 1.

    Example:
        >>> top_k_accuracy(np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]), np.array([1, 2]), 1)
        0.5
    """
    return float(_is_hit(scores, labels, k).mean())


def per_class_accuracy(scores: np.ndarray, labels: np.ndarray, k: int = 1) -> np.ndarray:
    """The top-k accuracy of every class.

    Args:
        scores: (N, K), higher is better.
        labels: (N,) in 0..K-1.
        k: 1 or more.

    Returns:
        (K,) fractions, NaN for a class without images.

    Raises:
        ValueError: As `top_k_accuracy`.

    Example:
        >>> per_class_accuracy(np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]]), np.array([1, 1, 0])).tolist()
        [1.0, 0.5]
    """
    hits = _is_hit(scores, labels, k)
    classes = scores.shape[1]
    counts = np.bincount(labels, minlength=classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(labels, weights=hits, minlength=classes) / np.where(counts, counts, np.nan))


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean cross-entropy of logits in nats.

    Args:
        scores: (N, K) logits.
        labels: (N,) in 0..K-1.

    Raises:
        ValueError: If there are no images or the shapes do not fit.

    Example:
        >>> round(cross_entropy(np.zeros((2, 4)), np.array([0, 3])), 4)
        1.3863
    """
    _check(scores, labels)
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels].mean())


def _is_hit(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    _check(scores, labels)
    if k < 1:
        raise ValueError(f"expected k of 1 or more, got {k}")
    true = scores[np.arange(len(labels)), labels]
    # The true class itself is among those that do not score lower; NaN is not lower than anything.
    return np.asarray((~(scores < true[:, None])).sum(axis=1) - 1 < k)


def _check(scores: np.ndarray, labels: np.ndarray) -> None:
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or len(labels) == 0:
        raise ValueError(f"expected scores (N, K) and labels (N,), got {scores.shape} and {labels.shape}")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ValueError(f"expected labels in 0..{scores.shape[1] - 1}, got {labels.min()} to {labels.max()}")


def _mean_class(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(np.nanmean(per_class_accuracy(scores, labels)))


CLASSIFICATION_METRICS.add("top1", partial(top_k_accuracy, k=1))
CLASSIFICATION_METRICS.add("top5", partial(top_k_accuracy, k=5))
CLASSIFICATION_METRICS.add("mean_class", _mean_class)
CLASSIFICATION_METRICS.add(_CROSS_ENTROPY, cross_entropy)
