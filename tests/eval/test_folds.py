"""Ten-fold accuracy against a slow search over all thresholds."""

import numpy as np
import pytest

from facexfer.errors import InputError
from facexfer.eval.folds import fold_accuracy


def test_against_a_slow_reference() -> None:
    generator = np.random.default_rng(0)
    same = generator.random(300) < 0.5
    scores = np.round(same + generator.normal(0, 0.7, 300), 1)
    folds = np.arange(300) % 10
    result = fold_accuracy(scores, same, folds)
    for fold, accuracy, threshold in zip(range(10), result.folds, result.thresholds, strict=True):
        others = folds != fold
        reached = ((scores[others] > threshold) == same[others]).mean()
        best = max(((scores[others] > t) == same[others]).mean() for t in np.linspace(-4, 5, 1801))
        assert reached == pytest.approx(best)
        assert accuracy == ((scores[~others] > threshold) == same[~others]).mean()
    assert result.mean == pytest.approx(np.mean(result.folds))
    assert result.standard_error == pytest.approx(np.std(result.folds, ddof=1) / np.sqrt(10))


def test_bad_input_is_an_error() -> None:
    scores, same, folds = np.array([0.1, 0.2]), np.array([True, False]), np.array([0, 1])
    with pytest.raises(InputError, match="at least two folds, got 1"):
        fold_accuracy(scores, same, np.array([0, 0]))
    with pytest.raises(InputError, match="finite scores"):
        fold_accuracy(np.array([0.1, np.nan]), same, folds)
    with pytest.raises(InputError, match="got 2, 1 and 2"):
        fold_accuracy(scores, same[:1], folds)
