import numpy as np
import pytest
from scipy import stats

from facexfer.eval.tail.pareto import Pareto, fit_pareto, fit_scale


def draw(shape: float, scale: float = 0.7, count: int = 3000) -> np.ndarray:
    return stats.genpareto.rvs(shape, scale=scale, size=count, random_state=np.random.default_rng(3))


@pytest.mark.parametrize("shape", [-0.3, -0.05, 0.0, 0.2, 0.6])
def test_the_fit_is_scipys_maximum(shape: float) -> None:
    excesses = draw(shape)
    found = fit_pareto(excesses)
    theirs, _, scale = stats.genpareto.fit(excesses, floc=0)
    ours = stats.genpareto.logpdf(excesses, found.shape, scale=found.scale).sum()
    assert ours >= stats.genpareto.logpdf(excesses, theirs, scale=scale).sum() - 1e-3
    assert found.shape == pytest.approx(shape, abs=0.08)


def test_a_scale_alone_is_the_maximum_too() -> None:
    excesses = draw(0.2)
    found = fit_scale(excesses, 0.1)
    best = stats.genpareto.logpdf(excesses, 0.1, scale=found).sum()
    assert best >= max(stats.genpareto.logpdf(excesses, 0.1, scale=found * factor).sum() for factor in (0.99, 1.01))


@pytest.mark.parametrize("shape", [-0.3, 1e-6, 0.3])
def test_survival_quantile_and_derivatives_agree(shape: float) -> None:
    fit, excess, step = Pareto(shape, 0.7), 0.9, 1e-6
    assert fit.log_survival(excess) == pytest.approx(stats.genpareto.logsf(excess, shape, scale=0.7), rel=1e-5)
    assert fit.quantile(float(np.exp(fit.log_survival(excess)))) == pytest.approx(excess)
    by_shape, by_scale = fit.gradient(excess)
    if abs(shape) > 1e-3:
        numeric = (Pareto(shape + step, 0.7).log_survival(excess) - fit.log_survival(excess)) / step
        assert by_shape == pytest.approx(float(numeric), rel=1e-3)
        density = [stats.genpareto.logpdf(excess, each, scale=0.7) for each in (shape, shape + step)]
        assert fit.scores(np.array([excess]))[0, 0] == pytest.approx((density[1] - density[0]) / step, rel=1e-3)
    numeric = (Pareto(shape, 0.7 + step).log_survival(excess) - fit.log_survival(excess)) / step
    assert by_scale == pytest.approx(float(numeric), rel=1e-3)


def test_the_information_is_the_variance_of_the_scores() -> None:
    fit = Pareto(0.1, 0.7)
    scores = fit.scores(draw(0.1, count=400_000))
    assert np.cov(scores.T) == pytest.approx(fit.information(), rel=0.05)


def test_beyond_the_end_nothing_is_left() -> None:
    assert Pareto(-0.5, 1.0).log_survival(2.5) == -np.inf


def test_a_shape_without_information_is_bounded() -> None:
    assert fit_pareto(np.linspace(0.01, 1.0, 500)).shape == -0.45
