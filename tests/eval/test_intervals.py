"""Intervals by hand, against an explicit bootstrap, and their coverage where the truth is known."""

import numpy as np
import pytest
from scipy import stats

from facexfer.errors import InputError
from facexfer.eval.intervals import ThresholdNoise, fewest_pairs, identity_interval, residual_squares, wilson_interval


def test_wilson_keeps_to_0_and_1() -> None:
    assert wilson_interval(0, 20)[0] == 0
    assert wilson_interval(20, 20)[1] == 1
    with pytest.raises(InputError, match="got 3 of 2"):
        wilson_interval(3, 2)


def test_rules_of_three_and_thirty() -> None:
    assert fewest_pairs(1e-4, 3) == 30_000
    assert fewest_pairs(1e-4, 30) == 300_000
    # The rule of three: with no error among 3 / p pairs the 95 % one-sided bound is about p.
    assert stats.beta.ppf(0.95, 1, 30_000) == pytest.approx(1e-4, rel=0.01)


def test_one_pair_an_identity_gives_wilson() -> None:
    accepted = np.repeat([1.0, 0.0], [700, 300])
    assert identity_interval(accepted, np.ones(1000)) == pytest.approx(wilson_interval(700, 1000), abs=1e-4)


def test_pairs_that_always_agree_are_worth_one_an_identity() -> None:
    accepted = np.repeat([10.0, 0.0], [30, 10])
    assert identity_interval(accepted, np.full(40, 10.0)) == pytest.approx(wilson_interval(30, 40), abs=0.02)


def test_nothing_varies() -> None:
    low, high = identity_interval(np.full(40, 10.0), np.full(40, 10.0))
    assert high == 1
    assert low == pytest.approx(wilson_interval(40, 40)[0], abs=0.01)
    low, high = identity_interval(np.array([4.0]), np.array([5.0]))
    assert low < 0.01
    assert high > 0.99


def test_people_without_a_pair_do_not_stand_for_those_who_have_some() -> None:
    """200 people with one image each move the threshold a little; they say nothing of how many are accepted."""
    pairs = np.repeat([15.0, 0.0], [5, 200])
    noise = ThresholdNoise(np.random.default_rng(0).normal(scale=1e-4, size=205), 0.0)
    alone = identity_interval(np.full(5, 15.0), np.full(5, 15.0))
    assert identity_interval(pairs, pairs, threshold=noise) == alone
    assert alone[0] == pytest.approx(0.39, abs=0.01)
    some = pairs - np.eye(205)[0]
    expected = identity_interval(some[:5], pairs[:5])
    assert identity_interval(some, pairs, threshold=noise) == pytest.approx(expected, abs=1e-3)
    one = ThresholdNoise(noise.influence[:201], 0.0)
    low, high = identity_interval(59.0 * np.eye(201)[0], 66.0 * np.eye(201)[0], threshold=one)
    assert low < 0.01
    assert high > 0.99


def test_the_threshold_noise_of_people_without_a_pair_widens_the_interval() -> None:
    pairs = np.repeat([10.0, 0.0], [40, 10])
    accepted = np.minimum(pairs, np.arange(50) % 3 + 8)
    noise = ThresholdNoise(np.where(pairs > 0, 0.0, 0.02), 0.0)
    low, high = identity_interval(accepted, pairs, threshold=noise)
    narrow = identity_interval(accepted, pairs)
    assert low < narrow[0] < narrow[1] < high


def test_the_closed_form_is_the_variance_of_an_explicit_bootstrap_over_identities() -> None:
    """Draw exponential weights for identities, weigh each impostor pair on both sides, and measure the spread."""
    generator = np.random.default_rng(0)
    count = 60
    lambs = generator.normal(size=count)
    scores = lambs[:, None] + lambs[None, :] + generator.normal(size=(count, count))
    upper = np.triu(np.ones((count, count), dtype=bool), 1)
    accepted = (scores > 2.5) & upper
    both = accepted + accepted.T
    share = accepted.sum() / upper.sum()
    draws = []
    for _ in range(3000):
        weights = generator.standard_exponential(count)
        product = weights[:, None] * weights[None, :] * upper
        draws.append((product * accepted).sum() / product.sum())
    low, high = identity_interval(both.sum(1), np.full(count, count - 1), 0.0, (accepted.sum(), upper.sum()))
    worth = share * (1 - share) / np.var(draws)
    expected = wilson_interval(share * worth, worth, stats.t.ppf(0.975, count - 1))
    assert (low, high) == pytest.approx(expected, rel=0.15)


def test_residual_squares_against_the_whole_matrix() -> None:
    generator = np.random.default_rng(0)
    accepted = generator.integers(0, 3, (20, 20))
    pairs = generator.integers(3, 9, (20, 20))
    upper = np.triu_indices(20, 1)
    expected = ((accepted - 0.2 * pairs)[upper] ** 2).sum()
    accepted, pairs = accepted[upper], pairs[upper]
    some = accepted > 0
    squares = float((pairs**2).sum())
    assert residual_squares(accepted[some], pairs[some], np.ones(some.sum()), 0.2, squares) == pytest.approx(expected)
    (reached, of), times = np.unique(np.stack([accepted[some], pairs[some]]), axis=1, return_counts=True)
    assert residual_squares(reached, of, times, 0.2, squares) == pytest.approx(expected)


def simulated(
    generator: np.random.Generator, identities: int, images: int, identity_sd: float, pair_sd: float
) -> tuple[np.ndarray, np.ndarray]:
    """Genuine and impostor scores of normal effects: of identities, of two identities, and of each two images."""
    noise = np.sqrt(1 - 2 * identity_sd**2 - pair_sd**2)
    lambs = identity_sd * generator.normal(size=identities)
    two = pair_sd * generator.normal(size=(identities, identities))
    shared = lambs[:, None] + lambs[None, :] + two
    impostor = shared[:, :, None] + noise * generator.normal(size=(identities, identities, images))
    own = 0.7 * generator.normal(size=identities)
    genuine = 2.5 + own[:, None] + np.sqrt(1 - 0.49) * generator.normal(size=(identities, images))
    return genuine, impostor


@pytest.mark.parametrize(
    ("identity_sd", "pair_sd", "threshold"),
    [(0.5, 0.3, 1.5), (0.3, 0.3, 2.0), (0.0, 0.0, 1.5), (0.0, 0.7, 2.0), (0.5, 0.5, 2.5)],
)
def test_coverage_is_between_92_and_98_percent(identity_sd: float, pair_sd: float, threshold: float) -> None:
    """The truth is the normal tail at the threshold; 600 sets of 100 people, several images each."""
    generator = np.random.default_rng(7)
    identities, images, sets = 100, 4, 600
    truth_far, truth_tar = stats.norm.sf(threshold), stats.norm.sf(threshold - 2.5)
    covered = np.zeros(4)
    upper = np.triu_indices(identities, 1)
    for _ in range(sets):
        genuine, impostor = simulated(generator, identities, images, identity_sd, pair_sd)
        hits = (genuine > threshold).sum(1)
        low, high = identity_interval(hits, np.full(identities, images))
        plain = wilson_interval(hits.sum(), genuine.size)
        false_hits = np.zeros((identities, identities))
        false_hits[upper] = (impostor[upper] > threshold).sum(1)
        total = (int(false_hits.sum()), len(upper[0]) * images)
        some = false_hits[false_hits > 0]
        couples = some, np.full(len(some), images), np.ones(len(some))
        squares = residual_squares(*couples, total[0] / total[1], len(upper[0]) * images**2)
        both = false_hits.sum(0) + false_hits.sum(1)
        far = identity_interval(both, np.full(identities, images * (identities - 1)), squares, total)
        far_plain = wilson_interval(*total)
        covered += [
            low <= truth_tar <= high,
            far[0] <= truth_far <= far[1],
            plain[0] <= truth_tar <= plain[1],
            far_plain[0] <= truth_far <= far_plain[1],
        ]
    covered /= sets
    assert 0.92 <= covered[0] <= 0.98
    assert 0.92 <= covered[1] <= 0.98
    # The plain interval is too narrow wherever pairs share an identity.
    assert covered[2] < 0.9
    assert identity_sd == 0 or covered[3] < 0.8
