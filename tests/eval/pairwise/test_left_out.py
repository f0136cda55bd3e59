"""Pairs that do not count: the engine against the list of those that do."""

import numpy as np
import pytest
import torch

from facexfer.eval.collect import curve_of_pairs, labelled_scores, worst_pairs
from facexfer.eval.pairwise.inputs import pairs_that_share
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import operating_points
from facexfer.eval.unit_length import unit_length
from facexfer.eval.verification import tar_at_far

FARS = [0.5, 0.1, 0.02]


def test_keys_make_pairs() -> None:
    keys = (["a", None, "a", "b", "a"], [None, "x", "x", None, None])
    assert pairs_that_share(keys).tolist() == [[0, 2], [0, 4], [1, 2], [2, 4]]
    assert pairs_that_share((["a", "b"],), (["b", None, "b"],)).tolist() == [[1, 0], [1, 2]]
    assert pairs_that_share(([None, None],)).shape == (0, 2)


@pytest.mark.parametrize("one_set", [True, False])
def test_left_out_pairs_are_in_no_figure(one_set: bool) -> None:
    draw = np.random.default_rng(0)
    embeddings, labels = draw.normal(size=(60, 4)).astype(np.float32), draw.integers(0, 9, 60)
    other, others = (embeddings, labels) if one_set else (embeddings[::2] + 1, labels[::2])
    left_out = np.stack([draw.integers(0, 60, 40), draw.integers(0, len(others), 40)], axis=1)
    left_out = left_out[left_out[:, 0] < left_out[:, 1]] if one_set else left_out
    if one_set:
        pairs = PairSet.within(embeddings, labels, left_out=torch.from_numpy(left_out))
    else:
        pairs = PairSet.against(embeddings, labels, other, others, left_out=torch.from_numpy(left_out))
    counted = np.triu(np.ones((60, 60), dtype=bool), 1) if one_set else np.ones((60, len(others)), dtype=bool)
    counted[left_out[:, 0], left_out[:, 1]] = False
    scores, same = unit_length(embeddings) @ unit_length(other).T, labels[:, None] == others[None, :]
    expected = tar_at_far(scores[counted & same], scores[counted & ~same], FARS)
    found = operating_points(pairs, FARS)
    assert [(p.genuine_pairs, p.impostor_pairs, p.false_accepts, p.tar) for p in found] == [
        (p.genuine_pairs, p.impostor_pairs, p.false_accepts, p.tar) for p in expected
    ]
    assert all(low <= point.tar <= high for point in found for low, high in [point.tar_ci95])
    # Every pair of strangers counts for both of its identities.
    assert pairs.identity_counts()[0].sum() == 2 * pairs.impostor_pairs
    assert len(labelled_scores(pairs, FARS).genuine) == pairs.genuine_pairs
    assert curve_of_pairs(pairs).true_accepts[-1] == pairs.genuine_pairs
    worst = worst_pairs(pairs, 5)[0][0]
    assert (
        counted[min(worst.row, worst.column), max(worst.row, worst.column)]
        if one_set
        else counted[worst.row, worst.column]
    )
