"""The summary of accepted scores against all scores, one by one."""

import numpy as np
import pytest

from facexfer.eval.accepted import accepted_scores
from facexfer.eval.collect import labelled_scores
from facexfer.eval.curves import curve_of_scores
from facexfer.eval.intervals import identity_interval
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import operating_points
from facexfer.eval.shift import shares_by_group


@pytest.fixture(scope="module")
def pairs() -> PairSet:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 6)
    embeddings = generator.normal(size=(12, 16))[labels] + 0.9 * generator.normal(size=(72, 16))
    return PairSet.within(embeddings.astype(np.float32), labels)


def test_shares_and_covariance_are_those_of_the_scores(pairs: PairSet) -> None:
    (point,) = operating_points(pairs, [0.05])
    known = labelled_scores(pairs, [0.05])
    curve = curve_of_scores(known.genuine, known.tail)
    found = accepted_scores(pairs, curve, point)
    hits = known.genuine > point.threshold
    assert found.genuine_rate == pytest.approx(hits.mean())
    assert (np.diff(found.scores) > 0).all()
    assert found.scores[0] > point.threshold
    above = known.genuine[hits][:, None] > found.scores
    shares, covariance, identities = shares_by_group(above, known.genuine_identities[hits])
    assert found.above == pytest.approx(shares)
    assert found.covariance == pytest.approx(covariance)
    assert found.identities == identities
    assert found.above == pytest.approx(np.linspace(0.9, 0.1, 9), abs=2 / hits.sum())


def test_the_interval_is_at_the_threshold_itself(pairs: PairSet) -> None:
    """That of the operating point also holds the noise of the threshold, which a device keeps."""
    (point,) = operating_points(pairs, [0.05])
    known = labelled_scores(pairs, [0.05])
    found = accepted_scores(pairs, curve_of_scores(known.genuine, known.tail), point)
    hits = np.bincount(known.genuine_identities, weights=known.genuine > point.threshold, minlength=12)
    assert found.genuine_ci95 == pytest.approx(identity_interval(hits, np.full(12, 15.0)))
    assert found.genuine_ci95[1] - found.genuine_ci95[0] < point.tar_ci95[1] - point.tar_ci95[0]
