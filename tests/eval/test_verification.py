"""TAR at FAR by hand, against a sort from the definition, ties and edges."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facexfer.errors import InputError
from facexfer.eval import verification
from facexfer.eval.verification import point_at, tar_at_far

GRID = st.lists(st.integers(-4, 4).map(lambda value: value / 4), min_size=1, max_size=60)


def by_definition(genuine: list[float], impostor: list[float], far: float) -> tuple[float, float, float] | None:
    """The definition, word by word: threshold, achieved FAR, TAR; None where it is unsupported."""
    count = len(impostor)
    if far * count < 1 - 1e-9:
        return None
    k = math.floor(far * count + 1e-9)
    ordered = sorted(impostor, reverse=True)
    threshold = ordered[k] if k < count else -math.inf
    accepted = [score for score in genuine if score > threshold]
    return threshold, sum(score > threshold for score in impostor) / count, len(accepted) / len(genuine)


@given(GRID, GRID, st.sampled_from([1.0, 0.5, 0.3, 0.1, 0.05, 0.02]))
def test_equals_the_definition_ties_included(genuine, impostor, far) -> None:
    (point,) = tar_at_far(np.array(genuine), np.array(impostor), [far])
    expected = by_definition(genuine, impostor, far)
    if expected is None:
        assert not point.supported
        assert (point.threshold, point.achieved_far, point.tar, point.tar_ci95) == (None, None, None, None)
    else:
        assert (point.threshold, point.achieved_far, point.tar) == expected
        assert point.achieved_far <= far + 1e-9


def test_a_case_by_hand() -> None:
    impostor = np.array([0.9, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, -0.1, -0.2, -0.3])
    (point,) = tar_at_far(np.array([0.95, 0.6, 0.5, 0.1]), impostor, [0.1])
    # k = 1: the threshold is the second highest, 0.5; the genuine score of 0.5 ties with it and is rejected.
    assert (point.threshold, point.achieved_far, point.tar) == (0.5, 0.1, 0.5)
    low, high = point.tar_ci95
    assert low < 0.5 < high


def test_all_scores_equal_accepts_nobody() -> None:
    (point,) = tar_at_far(np.ones(4), np.ones(10), [0.5])
    assert (point.achieved_far, point.tar) == (0, 0)


def test_an_unsupported_far_says_what_would_be() -> None:
    (point,) = tar_at_far(np.ones(3), np.zeros(616_536), [1e-6])
    assert point.remark == (
        "FAR 1e-06 needs at least 1,000,000 impostor pairs, this set has 616,536; "
        "the smallest FAR it supports is 1.6e-06"
    )


def test_a_product_that_rounds_below_a_whole_number_counts_whole() -> None:
    # 0.29 * 100 is 28.999999999999996.
    (point,) = tar_at_far(np.array([1.0]), np.arange(100.0), [0.29])
    assert point.achieved_far == 0.29


@pytest.mark.parametrize(
    ("genuine", "impostor", "fars", "message"),
    [
        ([], [1.0], [0.1], "genuine scores of shape"),
        ([1.0], [[1.0]], [0.1], "impostor scores of shape"),
        ([np.nan], [1.0], [0.1], "finite genuine scores"),
        ([1.0], [np.inf], [0.1], "finite impostor scores"),
        ([1.0], [1.0], [], "at least one FAR"),
        ([1.0], [1.0], [0.0], "FAR above 0 and at most 1, got 0"),
        ([1.0], [1.0], [1.5], "got 1.5"),
        ([1.0], [1.0], [1e-20], "expected a FAR of at least 1e-15, got 1e-20"),
    ],
)
def test_bad_input_is_an_error(genuine: list[float], impostor, fars: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tar_at_far(np.array(genuine), np.array(impostor), fars)


@pytest.mark.parametrize("count", [1, 5, 10, 37, 99, 100])
@pytest.mark.parametrize("chunk", [1, 10, 33, 1000])
def test_the_highest_scores_in_chunks(monkeypatch: pytest.MonkeyPatch, count: int, chunk: int) -> None:
    monkeypatch.setattr(verification, "_CHUNK", chunk)
    scores = np.random.default_rng(count).integers(0, 30, 100) / 4
    assert verification.highest_scores(scores, count).tolist() == sorted(scores, reverse=True)[:count]


@pytest.mark.parametrize("step", [0.1, 0.02, 1e-3])
def test_quantised_scores_never_exceed_the_target(step: float) -> None:
    """A toolkit that rounds its scores ties many at the threshold; all of them are rejected, which lowers TAR."""
    generator = np.random.default_rng(0)
    genuine, impostor = generator.normal(0.5, 0.15, 2000), generator.normal(0, 0.1, 50_000)
    exact = tar_at_far(genuine, impostor, [1e-2, 1e-3])
    rounded = tar_at_far(np.round(genuine / step) * step, np.round(impostor / step) * step, [1e-2, 1e-3])
    for fine, coarse in zip(exact, rounded, strict=True):
        assert coarse.achieved_far <= coarse.far
        assert coarse.threshold >= fine.threshold - step / 2
        assert coarse.tar <= fine.tar + 0.01


def test_few_pairs_are_marked() -> None:
    scores = np.arange(100_000.0)
    points = tar_at_far(scores, scores, [1e-5, 2e-5, 1e-4, 3e-4])
    assert [(point.meets_rule_of_3, point.meets_rule_of_30) for point in points] == [
        (False, False), (False, False), (True, False), (True, True),
    ]  # fmt: skip
    assert points[2].remark == (
        "FAR 0.0001 breaks the rule of thirty: it needs at least 300,000 impostor pairs, this set has 100,000; "
        "by the rule of thirty it supports FAR 0.0003"
    )
    assert "breaks the rule of three" in points[0].remark
    assert points[3].remark == ""


def test_no_remark_names_a_rate_above_one() -> None:
    for count in range(1, 40):
        for far in (1e-4, 0.02, 0.1, 0.5, 1.0):
            (point,) = tar_at_far(np.array([0.5]), np.linspace(0, 1, count), [far])
            named = re.findall(r"FAR (?:it supports is )?([0-9][0-9.e-]*[0-9]|[0-9])", point.remark)
            assert all(0 < float(each) <= 1 for each in named), point.remark
            assert (point.reliable_far is None) == (count < 30)
            assert 0 <= point.smallest_far <= 1
    (point,) = tar_at_far(np.array([0.5]), np.zeros(4), [0.5])
    assert point.remark == (
        "FAR 0.5 breaks the rule of three: it needs at least 6 impostor pairs, this set has 4; by the rule of thirty "
        "so few support no FAR"
    )


@pytest.mark.parametrize("far", [float("nan"), float("inf"), -1.0, 2.0])
def test_a_rate_that_is_none_is_refused(far: float) -> None:
    with pytest.raises(InputError, match="FAR above 0 and at most 1"):
        tar_at_far(np.ones(2), np.zeros(2), [far])


def test_a_threshold_is_not_rounded_to_half_precision() -> None:
    # 0.3 rounds to 0.30005 in float16, which would reject 0.3000488.
    point = point_at(np.array([0.3], dtype=np.float16), np.array([0.1]), 0.3)
    assert point.tar == 1
