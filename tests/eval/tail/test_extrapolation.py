"""Extrapolated rates hold the truth where it is known, and are refused where nothing can be said."""

import numpy as np
import pytest
from scipy import special, stats

from facexfer.errors import InputError
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.tail.clusters import cluster_variance
from facexfer.eval.tail.excesses import collect_excesses, from_scale, to_scale
from facexfer.eval.tail.extrapolation import Tail

DIMENSION = 32


def draw(
    generator: np.random.Generator, people: int = 60, images: int = 6, spread: float = 1.4
) -> tuple[np.ndarray, np.ndarray]:
    centres = generator.normal(size=(people, 1, DIMENSION))
    spreads = spread * np.exp(0.3 * generator.normal(size=(people, 1, 1)))
    embeddings = centres + spreads * generator.normal(size=(people, images, DIMENSION))
    return embeddings.reshape(-1, DIMENSION).astype(np.float32), np.repeat(np.arange(people), images)


def true_far(threshold):
    """Two people's directions are independent and uniform on the sphere: the cosine's law is known exactly."""
    return 0.5 * special.betainc((DIMENSION - 1) / 2, 0.5, 1 - threshold**2)


@pytest.fixture(scope="module")
def tail() -> Tail:
    return Tail(collect_excesses(PairSet.within(*draw(np.random.default_rng(0)))))


def test_excesses_are_the_highest_impostor_scores_with_their_people() -> None:
    embeddings, labels = draw(np.random.default_rng(1))
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    first, second = np.triu_indices(len(labels), 1)
    is_impostor = labels[first] != labels[second]
    scores = (units @ units.T)[first, second][is_impostor].astype(float)
    found = collect_excesses(PairSet.within(embeddings, labels))
    order = np.argsort(-scores)
    count = len(scores) // 100
    assert len(found.values) == count
    assert found.base == pytest.approx(scores[order[count]], abs=1e-6)
    expected = to_scale(scores[order[:count]]) - to_scale(scores[order[count]])
    assert np.sort(found.values) == pytest.approx(np.sort(expected), abs=1e-5)
    highest = order[0]
    people = {int(labels[first][is_impostor][highest]), int(labels[second][is_impostor][highest])}
    top = int(np.argmax(found.values))
    assert {int(found.first[top]), int(found.second[top])} == people
    assert found.pairs_of.sum() == 2 * found.pairs == 2 * len(scores)


def test_a_tail_that_begins_higher_holds_the_highest(tail: Tail) -> None:
    narrowed = tail.excesses.narrowed(150)
    kept = np.sort(tail.excesses.values)[-150:]
    assert narrowed.base > tail.excesses.base
    shift = float(to_scale(narrowed.base) - to_scale(tail.excesses.base))
    assert np.sort(narrowed.values) + shift == pytest.approx(kept, abs=1e-9)


def test_the_scale_and_back() -> None:
    assert [from_scale(float(to_scale(each))) for each in (0.01, 0.4, 0.95)] == pytest.approx([0.01, 0.4, 0.95])


def test_independent_pairs_have_the_variance_of_independent_pairs(tail: Tail) -> None:
    """Where every pair has people of its own, the clusters are the pairs."""
    excesses = tail.excesses
    count = len(excesses.values)
    alone = type(excesses)(
        excesses.base, excesses.values, np.arange(count), count + np.arange(count), excesses.pairs, np.ones(2 * count)
    )
    influence = np.random.default_rng(2).normal(size=count)
    found = cluster_variance(alone, influence)
    # Each pair counts with both of its people; a third of one of the two is taken back.
    assert found.variance == pytest.approx((2 - 1 / 3) * (influence**2).sum(), rel=0.01)


def test_the_fitted_rate_is_the_measured_one_within_the_tail(tail: Tail) -> None:
    values = np.sort(tail.excesses.values)[::-1]
    threshold = from_scale(float(to_scale(tail.excesses.base)) + values[len(values) // 10])
    assert tail.far(threshold) == pytest.approx(len(values) // 10 / tail.excesses.pairs, rel=0.25)


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """The whole table is docs/experiments/extrapolation.md; this is one population of it in seconds."""
    generator = np.random.default_rng(4)
    held: dict[int, list[bool]] = {3: [], 10: [], 30: []}
    for _ in range(120):
        tail = Tail(collect_excesses(PairSet.within(*draw(generator))))
        for factor, holds in held.items():
            (found,) = tail.extrapolate([1 / (factor * tail.excesses.pairs)])
            assert found.threshold is not None, found.refusal
            assert found.factor == pytest.approx(factor)
            low, high = found.far_ci95
            holds.append(low <= true_far(found.threshold) <= high)
    for holds in held.values():
        # 120 draws of 90 to 98 %: three standard errors.
        assert np.mean(holds) >= 0.90 - 3 * 0.027
        assert np.mean(holds) < 1 or stats.binom.sf(119, 120, 0.98) > 0.01


def test_targets_that_are_measured_or_too_far_are_refused(tail: Tail) -> None:
    supported = 1 / tail.excesses.pairs
    with pytest.raises(InputError, match=r"expected FARs to extrapolate below .*, got 0\.01; measure it with --far"):
        tail.extrapolate([0.01])
    near, far = tail.extrapolate([supported / 30, supported / 31])
    assert near.refusal == ""
    assert (far.threshold, far.far_ci95) == (None, None)
    assert "31 times below what the pairs support; validated to 30 times" in far.refusal


def test_two_names_of_one_person_are_noticed() -> None:
    embeddings, labels = draw(np.random.default_rng(5), people=60, spread=0.8)
    labels[labels == 7] = 7
    embeddings[labels == 8] = embeddings[labels == 7] + 0.01
    (found,) = Tail(collect_excesses(PairSet.within(embeddings, labels))).extrapolate([1e-6])
    assert found.threshold is None
    assert "a few people make most of the tail; check their labels" in found.refusal or "does not fit" in found.refusal


def test_a_tail_of_two_parts_does_not_fit() -> None:
    """Half of the tail far above the other half, over many people."""
    generator = np.random.default_rng(6)
    embeddings, labels = draw(generator)
    excesses = collect_excesses(PairSet.within(embeddings, labels))
    values = np.sort(generator.exponential(0.01, len(excesses.values)))
    values[len(values) // 2 :] += 3.0
    broken = type(excesses)(
        excesses.base, values, generator.integers(0, 60, len(values)), generator.integers(0, 60, len(values)),
        excesses.pairs, excesses.pairs_of,
    )  # fmt: skip
    (found,) = Tail(broken).extrapolate([1e-6])
    assert "the tail does not fit" in found.refusal


def test_too_few_pairs_and_vectors_that_are_no_faces() -> None:
    with pytest.raises(
        InputError, match="expected at least 60 people to extrapolate from, got 59; measure more people"
    ):
        collect_excesses(PairSet.within(*draw(np.random.default_rng(7), people=59)))
    few = draw(np.random.default_rng(7), people=60, images=2)
    with pytest.raises(InputError, match="expected at least 10,000 impostor pairs to extrapolate from, got 7,080"):
        collect_excesses(PairSet.within(*few))
    generator = np.random.default_rng(8)
    labels = np.repeat(np.arange(61), 4)
    # Directions as far apart as 61 can be: every impostor score is below 0.
    corners = np.eye(61) - 1 / 61
    embeddings = (corners[labels] + 1e-4 * generator.normal(size=(len(labels), 61))).astype(np.float32)
    with pytest.raises(InputError, match="these do not look like face embeddings"):
        collect_excesses(PairSet.within(embeddings, labels))


def test_pairs_that_tie_at_the_base_leave_no_tail() -> None:
    """One picture under 46 people is 1,035 impostor pairs of cosine 1, more than a tail has room for."""
    embeddings, labels = draw(np.random.default_rng(9), people=150)
    embeddings[: 46 * 6 : 6] = embeddings[0]
    with pytest.raises(InputError, match=r"got so many at 1\.000 that 0 of the 1,000 most similar ones lie above"):
        collect_excesses(PairSet.within(embeddings, labels))
