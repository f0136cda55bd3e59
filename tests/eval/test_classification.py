"""Accuracies by hand, ties, classes without images, and errors."""

import numpy as np
import pytest

from facexfer.eval.classification import cross_entropy, per_class_accuracy, top_k_accuracy

SCORES = np.array([[0.9, 0.05, 0.05], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.4, 0.3, 0.3]])
LABELS = np.array([0, 1, 2, 2])


def test_top_k_by_hand() -> None:
    assert top_k_accuracy(SCORES, LABELS, 1) == 0.5
    # The last image's true class ties with another behind the best: that is a miss for k = 2.
    assert top_k_accuracy(SCORES, LABELS, 2) == 0.75
    assert top_k_accuracy(SCORES, LABELS, 3) == top_k_accuracy(SCORES, LABELS, 9) == 1


def test_equal_scores_are_no_accuracy() -> None:
    assert top_k_accuracy(np.zeros((4, 10)), np.arange(4), 5) == 0


def test_scores_that_are_no_numbers_are_no_accuracy() -> None:
    assert top_k_accuracy(np.full((3, 4), np.nan), np.array([0, 1, 2]), 1) == 0
    assert top_k_accuracy(np.array([[0.5, np.nan]]), np.array([0]), 1) == 0


def test_per_class_and_a_class_without_images() -> None:
    assert per_class_accuracy(SCORES, LABELS).tolist() == [1, 1, 0]
    found = per_class_accuracy(SCORES[:2], LABELS[:2])
    assert found[:2].tolist() == [1, 1]
    assert np.isnan(found[2])


def test_cross_entropy_is_stable() -> None:
    assert cross_entropy(np.array([[1e4, 0.0]]), np.array([1])) == pytest.approx(1e4)


@pytest.mark.parametrize(
    ("scores", "labels", "k", "message"),
    [
        (SCORES[:0], LABELS[:0], 1, "expected scores"),
        (SCORES, LABELS[:2], 1, "expected scores"),
        (SCORES, LABELS + 1, 1, "expected labels in 0..2"),
        (SCORES, LABELS, 0, "expected k of 1 or more"),
    ],
)
def test_errors(scores: np.ndarray, labels: np.ndarray, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        top_k_accuracy(scores, labels, k)
