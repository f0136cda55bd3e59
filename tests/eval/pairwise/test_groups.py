"""Groups that are not compared with each other: the engine against each group by itself."""

import numpy as np
import pytest

from facexfer.errors import InputError
from facexfer.eval.collect import labelled_scores
from facexfer.eval.paired import paired_differences
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import operating_points
from facexfer.eval.unit_length import unit_length
from facexfer.eval.verification import tar_at_far

FARS = [0.3, 0.1, 0.02]


def _faces(seed, spread: float = 1.0):
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.repeat(np.arange(12), 6))
    centres = np.random.default_rng(7).normal(size=(12, 8))
    return centres[labels] + spread * draw.normal(size=(72, 8)), labels, labels % 3


@pytest.mark.parametrize("one_set", [True, False])
def test_pooled_groups_are_the_groups_together(one_set: bool) -> None:
    embeddings, labels, groups = _faces(0)
    probes, others, their_groups = (embeddings, labels, groups) if one_set else (each[::2] for each in _faces(1))
    parts, genuine, impostor = [], [], []
    for group in range(3):
        rows, columns = groups == group, their_groups == group
        scores = unit_length(embeddings[rows]) @ unit_length(probes[columns]).T
        same = labels[rows][:, None] == others[columns][None, :]
        counted = np.triu(np.ones_like(same), 1) if one_set else np.ones_like(same)
        genuine.append(scores[same & counted])
        impostor.append(scores[~same & counted])
        if one_set:
            parts.append(PairSet.within(embeddings[rows], labels[rows]))
        else:
            parts.append(PairSet.against(embeddings[rows], labels[rows], probes[columns], others[columns]))
    if one_set:
        pairs = PairSet.within(embeddings, labels, groups=groups)
    else:
        pairs = PairSet.against(embeddings, labels, probes, others, groups=(groups, their_groups))
    expected = tar_at_far(np.concatenate(genuine), np.concatenate(impostor), FARS)
    found = operating_points(pairs, FARS)
    assert [(p.genuine_pairs, p.impostor_pairs, p.false_accepts, p.tar) for p in found] == [
        (p.genuine_pairs, p.impostor_pairs, p.false_accepts, p.tar) for p in expected
    ]
    counts, squares = pairs.identity_counts()
    by_group = [part.identity_counts() for part in parts]
    assert counts.sum() == 2 * pairs.impostor_pairs == sum(each[0].sum() for each in by_group)
    assert squares == sum(each[1] for each in by_group)


def test_a_paired_comparison_stays_within_the_groups() -> None:
    first, labels, groups = _faces(0, spread=1.5)
    second, _, _ = _faces(0, spread=0.5)
    pooled = [PairSet.within(each, labels, groups=groups) for each in (first, second)]
    before, after = (labelled_scores(pairs, FARS) for pairs in pooled)
    found = paired_differences(before, after, FARS, pooled[0].impostor_pairs)
    for difference, one, other in zip(found, *(operating_points(each, FARS) for each in pooled), strict=True):
        assert difference is not None
        assert (difference.first, difference.second) == (one.tar, other.tar)
        assert difference.ci95[0] <= difference.difference <= difference.ci95[1]
    assert found[1] is not None
    assert found[1].significant


def test_bad_groups_are_refused() -> None:
    embeddings, labels, groups = _faces(0)
    with pytest.raises(InputError, match=r"one group per image, 72, got \(71,\)"):
        PairSet.within(embeddings, labels, groups=groups[1:])
    with pytest.raises(InputError, match="each identity in one group, got one in two"):
        PairSet.within(embeddings, labels, groups=np.arange(72) % 2)
