"""The intervals of a whole evaluation hold the truth as often as they say: people drawn from a known population."""

import numpy as np
import pytest

from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import all_pairs, points_at_thresholds

SETS = 350


def draw(
    generator: np.random.Generator, identities: int, images: int, dimension: int, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """People around centres of their own; each varies more or less than others, as real ones do."""
    centres = generator.normal(size=(identities, 1, dimension))
    spreads = spread * np.exp(0.3 * generator.normal(size=(identities, 1, 1)))
    embeddings = centres + spreads * generator.normal(size=(identities, images, dimension))
    return embeddings.reshape(-1, dimension).astype(np.float32), np.repeat(np.arange(identities), images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dimension", "spread", "identities", "images", "fars"),
    [(64, 1.5, 80, 6, (1e-3, 1e-4)), (32, 1.2, 100, 5, (1e-2, 1e-3))],
)
def test_intervals_of_operating_points_cover_the_truth(
    dimension: int, spread: float, identities: int, images: int, fars: tuple[float, float]
) -> None:
    """At many and at few false accepts (eleven expected); the truth is that of 1,500 people of the same population."""
    generator = np.random.default_rng(1)
    population = draw(generator, 1500, images, dimension, spread)
    truth = [point.tar for point in all_pairs(*population, fars)]
    measured = [all_pairs(*draw(generator, identities, images, dimension, spread), fars) for _ in range(SETS)]
    thresholds = np.array([[point.threshold for point in points] for points in measured])
    # The true FAR at each threshold found, from a grid of thresholds.
    grid = np.linspace(thresholds.min(), thresholds.max(), 12)
    rates = [point.achieved_far for point in points_at_thresholds(PairSet.within(*population), grid.tolist())]
    for number in range(len(fars)):
        points = [points[number] for points in measured]
        true_rates = np.exp(np.interp(thresholds[:, number], grid, np.log(rates)))
        covered = [point.tar_ci95[0] <= truth[number] <= point.tar_ci95[1] for point in points]
        assert 0.92 <= np.mean(covered) <= 0.98
        covered = [p.far_ci95[0] <= rate <= p.far_ci95[1] for p, rate in zip(points, true_rates, strict=True)]
        assert 0.92 <= np.mean(covered) <= 0.98
        covered = [point.tar_ci95_wilson[0] <= truth[number] <= point.tar_ci95_wilson[1] for point in points]
        assert np.mean(covered) < 0.8
