"""The paired difference: its interval covers a known truth, uses the pairing, and says what is significant."""

from collections.abc import Sequence

import numpy as np
import pytest

from facexfer.errors import InputError
from facexfer.eval.collect import labelled_scores
from facexfer.eval.paired import Difference, paired_differences
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import all_pairs

FARS = [0.1, 0.01]


def two_networks(
    seed: int, noise: tuple[float, float], identities: int = 60, images: int = 5, dimension: int = 24
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings by two networks that share most of what they find hard."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(identities), images)
    shared = generator.normal(size=(identities, dimension))[labels] + generator.normal(size=(len(labels), dimension))
    first, second = (shared + each * generator.normal(size=shared.shape) for each in noise)
    return labels, first, second


def compare(
    labels: np.ndarray, one: np.ndarray, other: np.ndarray, fars: Sequence[float] = FARS
) -> tuple[Difference | None, ...]:
    pairs = [PairSet.within(each, labels) for each in (one, other)]
    first, second = (labelled_scores(each, fars) for each in pairs)
    return paired_differences(first, second, fars, pairs[0].impostor_pairs)


def test_plain_rates_are_those_of_all_pairs() -> None:
    labels, one, other = two_networks(0, (0.3, 0.6))
    for difference, a, b in zip(
        compare(labels, one, other), all_pairs(one, labels, FARS), all_pairs(other, labels, FARS), strict=True
    ):
        assert (difference.first, difference.second) == pytest.approx((a.tar, b.tar))
        assert difference.difference == pytest.approx(b.tar - a.tar)


def test_a_network_against_itself_is_not_significant() -> None:
    labels, one, _ = two_networks(0, (0.3, 0.6))
    for difference in compare(labels, one, one):
        assert (difference.difference, difference.ci95, difference.p_value) == (0, (0, 0), 1)
        assert not difference.significant


def test_a_much_worse_network_is_significant() -> None:
    labels, one, other = two_networks(0, (0.3, 1.0))
    for difference in compare(labels, one, other):
        assert difference.ci95[1] < 0
        assert difference.significant
        assert difference.p_value < 0.01


def test_a_network_whose_embeddings_are_all_equal_is_compared() -> None:
    labels, one, _ = two_networks(0, (0.3, 0.6))
    for difference in compare(labels, one, np.ones_like(one)):
        assert difference.second == 0
        assert difference.significant
    for difference in compare(labels, np.ones_like(one), one):
        assert difference.first == 0
        assert difference.ci95[0] > 0


def test_the_pairing_narrows_the_interval() -> None:
    labels, one, other = two_networks(0, (0.2, 0.2))
    (difference, _) = compare(labels, one, other)
    (point, _) = all_pairs(one, labels, FARS)
    alone = point.tar_ci95[1] - point.tar_ci95[0]
    assert difference.ci95[1] - difference.ci95[0] < alone


def test_equal_networks_differ_significantly_about_one_time_in_twenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facexfer.eval.paired._DRAWS", 200)
    found = [
        difference.significant
        for seed in range(100)
        for labels, one, other in [two_networks(seed, (0.5, 0.5), identities=40, images=4)]
        for difference in compare(labels, one, other, [0.1])
    ]
    # Two standard deviations above 5 %, and never more often; the interval may err on the wide side.
    assert np.mean(found) <= 0.10


def test_unsupported_targets_and_other_pairs() -> None:
    labels, one, other = two_networks(0, (0.3, 0.6))
    assert compare(labels, one, other, [0.1, 1e-9])[1] is None
    first = labelled_scores(PairSet.within(one, labels), FARS)
    second = labelled_scores(PairSet.within(other, labels // 2), FARS)
    with pytest.raises(InputError, match="same pairs"):
        paired_differences(first, second, FARS, 100)


@pytest.mark.parametrize("tail", [2000, 6000])
def test_a_tail_that_is_not_all_held_gives_exact_rates_and_about_the_same_interval(
    monkeypatch: pytest.MonkeyPatch, tail: int
) -> None:
    labels, one, other = two_networks(0, (0.3, 0.6))
    whole = compare(labels, one, other)
    monkeypatch.setattr("facexfer.eval.collect._TAIL", tail)
    for seen, exact in zip(compare(labels, one, other), whole, strict=True):
        assert (seen.first, seen.second) == (exact.first, exact.second)
        assert np.ptp(seen.ci95) == pytest.approx(np.ptp(exact.ci95), rel=0.15)


def test_more_pairs_than_are_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, one, other = two_networks(0, (0.3, 0.6))
    whole = compare(labels, one, other, [0.3, 0.01])
    monkeypatch.setattr("facexfer.eval.pairwise.cuts.KEPT", 2000)
    monkeypatch.setattr("facexfer.eval.collect._TAIL", 400)
    for seen, exact in zip(compare(labels, one, other, [0.3, 0.01]), whole, strict=True):
        assert (seen.first, seen.second) == (exact.first, exact.second)
