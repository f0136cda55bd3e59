"""Curves and what is read from them, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from facexfer.errors import InputError
from facexfer.eval.curves import area_under_roc, curve_of_counts, curve_of_scores, equal_error_rate


def drawn(digits: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return np.round(generator.normal(1.2, 1, 400), digits), np.round(generator.normal(0, 1, 3000), digits)


def truth_and_scores(genuine: np.ndarray, impostor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([1, 0], [len(genuine), len(impostor)]), np.concatenate([genuine, impostor])


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_roc_and_auc_equal_scikit_learn(digits: int) -> None:
    genuine, impostor = drawn(digits)
    curve = curve_of_scores(genuine, impostor)
    truth, scores = truth_and_scores(genuine, impostor)
    far, tar, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
    assert curve.far == pytest.approx(far)
    assert curve.tar == pytest.approx(tar)
    assert area_under_roc(curve).value == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-12)
    assert area_under_roc(curve).error == 0


@pytest.mark.parametrize("digits", [1, 8])
def test_det_equals_scikit_learn(digits: int) -> None:
    genuine, impostor = drawn(digits)
    curve = curve_of_scores(genuine, impostor)
    far, misses, _ = metrics.det_curve(*truth_and_scores(genuine, impostor))
    ours = {(round(a, 12), round(1 - b, 12)) for a, b in zip(curve.far, curve.tar, strict=True)}
    assert {(round(a, 12), round(b, 12)) for a, b in zip(far, misses, strict=True)} <= ours


def test_counts_in_bins_bound_the_exact_figures() -> None:
    genuine, impostor = drawn(8)
    edges = np.linspace(-6, 6, 241)
    exact = curve_of_scores(genuine, impostor)
    # numpy's bins are closed below; mirrored, they are closed above.
    binned = curve_of_counts(edges, *(np.histogram(-each, -edges[::-1])[0][::-1] for each in (genuine, impostor)))
    for figure in (area_under_roc, equal_error_rate):
        assert abs(figure(binned).value - figure(exact).value) <= figure(binned).error + figure(exact).error
        assert figure(binned).error < 0.02
    assert np.array_equal(binned.tar[:-1], (genuine[None] > edges[::-1][:-1, None]).mean(1))


def test_equal_error_rate_by_hand() -> None:
    # At 0.4 one of four genuine pairs is rejected and one of four impostor pairs accepted.
    curve = curve_of_scores(np.array([0.9, 0.8, 0.7, 0.3]), np.array([0.5, 0.2, 0.1, 0.0]))
    assert equal_error_rate(curve).value == 0.25
    apart = curve_of_scores(np.array([0.9]), np.array([0.1]))
    assert equal_error_rate(apart).value == 0
    assert area_under_roc(apart).value == 1


def test_one_kind_of_score_is_an_error() -> None:
    with pytest.raises(InputError, match="got 0 genuine and 2 impostor"):
        curve_of_scores(np.array([]), np.array([1.0, 2.0]))
