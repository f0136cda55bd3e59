"""Sets whose identities are known only from a list of pairs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facexfer.data.manifest import FaceImage
from facexfer.data.pairs_file import ListedPair
from facexfer.errors import InputError
from facexfer.eval.verification import tar_at_far
from facexfer.measure.evaluate import Request
from facexfer.measure.listed import evaluate_list, list_defines_pairs, show_worst_listed
from facexfer.measure.pair_sets import Side

PAIRS = [ListedPair(0, 1, True, 0), ListedPair(2, 3, False, 0), ListedPair(4, 5, True, 1), ListedPair(0, 4, False, 1)]


def images_of(*identities: str) -> list[FaceImage]:
    return [FaceImage(Path(f"{place}.png"), name, "vis", "all") for place, name in enumerate(identities)]


@pytest.mark.parametrize(
    ("identities", "defines"),
    [
        ("abcdef", True),  # Everybody once: photos that nobody has sorted.
        ("aabcdd", True),  # A .bin set: two of its pairs may show one person.
        ("aabcdde", True),
        ("aaacdd", False),  # The third of a makes pairs that are not listed.
        ("aabbdd", False),  # Two of b, which are not a listed pair of one person.
    ],
)
def test_when_the_list_says_all_there_is(identities: str, defines: bool) -> None:
    assert list_defines_pairs(images_of(*identities), PAIRS) is defines


def side() -> Side:
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    return Side(vectors, np.array(list("abcdef")), np.full(6, None, dtype=object), tuple(images_of(*"abcdef")))


def test_figures_are_those_of_the_listed_pairs() -> None:
    whole = side()
    units = whole.embeddings / np.linalg.norm(whole.embeddings, axis=1)[:, None]
    scores = [float(units[pair.first] @ units[pair.second]) for pair in PAIRS]
    findings = evaluate_list(whole, PAIRS, Request((0.5,)), {"split": None})
    expected = tar_at_far(np.array(scores[::2]), np.array(scores[1::2]), [0.5])
    (point,) = findings.points
    assert (point.tar, point.achieved_far, point.threshold) == pytest.approx(
        (expected[0].tar, expected[0].achieved_far, expected[0].threshold)
    )
    assert findings.folds is not None
    assert findings.facts["split"] is None
    one_fold = [replace(pair, fold=0) for pair in PAIRS]
    assert evaluate_list(whole, one_fold, Request((0.5,)), {}).folds is None
    shown = show_worst_listed(whole, PAIRS, 1, pictures=False)
    assert [pair.score for pair in shown] == pytest.approx([max(scores[1::2]), min(scores[::2])])


def test_a_pair_with_a_failed_photo_is_a_reject() -> None:
    whole = side()
    failed = [*PAIRS, ListedPair(None, 2, True, 0), ListedPair(1, None, False, 1)]
    before, after = (evaluate_list(whole, pairs, Request((0.5,)), {}).points for pairs in (PAIRS, failed))
    assert (before[0].genuine_pairs, after[0].genuine_pairs) == (2, 3)
    assert after[0].threshold == before[0].threshold
    assert after[0].tar == before[0].tar * 2 / 3
    assert len(show_worst_listed(whole, failed, 9, pictures=False)) == 4
    assert list_defines_pairs(images_of(*"aabcdd"), failed)


def test_what_needs_identities_is_refused() -> None:
    with pytest.raises(InputError, match="for --templates, --slice-by, identities are known only from the pair list"):
        evaluate_list(side(), PAIRS, Request((0.5,), templates=True, columns=("camera",)), {})
    with pytest.raises(InputError, match="pairs of one person and pairs of two in the list, got 2 and 0"):
        evaluate_list(side(), PAIRS[::2], Request((0.5,)), {})
