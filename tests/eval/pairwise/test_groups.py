"""Groups that are not compared with each other: the engine against each group by itself."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from facexfer.errors import InputError
from facexfer.eval.collect import curve_of_pairs, labelled_scores
from facexfer.eval.paired import paired_differences
from facexfer.eval.pairwise import cuts, pairs
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import operating_points, points_at_thresholds
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


@pytest.mark.parametrize("one_set", [True, False])
@pytest.mark.parametrize("kept", [4_000_000, 0])
def test_groups_and_left_out_pairs_equal_brute_force(monkeypatch: pytest.MonkeyPatch, one_set: bool, kept: int) -> None:
    """Some pairs left out are across groups, which do not count anyway."""
    monkeypatch.setattr(pairs, "BLOCK", 16)
    monkeypatch.setattr(cuts, "KEPT", kept)
    embeddings, labels, groups = _faces(0)
    probes, others, their_groups = (embeddings, labels, groups) if one_set else (each[::2] for each in _faces(1))
    draw = np.random.default_rng(3)
    left_out = np.stack([draw.integers(0, 72, 300), draw.integers(0, len(others), 300)], axis=1)
    left_out = left_out[left_out[:, 0] < left_out[:, 1]] if one_set else left_out
    if one_set:
        pooled = PairSet.within(embeddings, labels, left_out=torch.from_numpy(left_out), groups=groups)
    else:
        pooled = PairSet.against(
            embeddings,
            labels,
            probes,
            others,
            left_out=torch.from_numpy(left_out),
            groups=(groups, their_groups),
        )
    counted = groups[:, None] == their_groups[None, :]
    counted[left_out[:, 0], left_out[:, 1]] = False
    counted = np.triu(counted, 1) if one_set else counted
    scores, same = unit_length(embeddings) @ unit_length(probes).T, labels[:, None] == others[None, :]
    fars = [1.0, *FARS]
    expected = tar_at_far(scores[counted & same], scores[counted & ~same], fars)
    found = operating_points(pooled, fars)
    assert [(p.genuine_pairs, p.impostor_pairs, p.false_accepts, p.tar) for p in found] == [
        (p.genuine_pairs, p.impostor_pairs, p.false_accepts, p.tar) for p in expected
    ]
    curve = curve_of_pairs(pooled)
    assert (curve.true_accepts[-1], curve.false_accepts[-1]) == (pooled.genuine_pairs, pooled.impostor_pairs)
    of_rows, of_columns = ((counted & ~same).sum(axis=axis) for axis in (1, 0))
    of_identity = np.bincount(labels, of_rows, minlength=12) + np.bincount(others, of_columns, minlength=12)
    assert pooled.identity_counts()[0].tolist() == of_identity.tolist()
    # All impostor pairs are accepted with a target of 1, also where none of them is looked at.
    (everybody,) = cuts.find_cuts(pooled, [pooled.impostor_pairs])
    sides = everybody.by_image.split([72, len(others)])
    found_of_identity = sum(
        np.bincount(of_place[order.numpy()], side.numpy(), minlength=12)
        for of_place, order, side in zip((labels, others), (pooled.row_order, pooled.column_order), sides, strict=True)
    )
    assert np.array_equal(found_of_identity, of_identity)
    assert points_at_thresholds(pooled, [-2.0])[0].false_accepts == pooled.impostor_pairs


class _Largest(TorchDispatchMode):
    """Watches how large the tensors are that are made."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(each.numel() for each in tree_leaves(made) if torch.is_tensor(each))])
        return made


@pytest.mark.parametrize("one_set", [True, False])
def test_pairs_across_groups_are_not_listed(one_set: bool) -> None:
    images, size = 1200, 4
    embeddings = np.random.default_rng(0).normal(size=(images, size)).astype(np.float32)
    labels = np.repeat(np.arange(images // 4), 4)
    groups = labels % 5
    with _Largest() as largest:
        if one_set:
            pooled = PairSet.within(embeddings, labels, groups=groups)
        else:
            pooled = PairSet.against(embeddings, labels, embeddings, labels, groups=(groups, groups))
    assert largest.numbers == images * size
    assert len(pooled.left_out) == 0
    assert pooled.impostor_pairs == 5 * 240 * 236 // (2 if one_set else 1)


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
