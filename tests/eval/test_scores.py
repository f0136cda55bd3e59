"""All pairs against brute force, ties and captures included."""

from typing import Any

import numpy as np
import pytest
import torch

from facexfer.errors import InputError
from facexfer.eval.pairwise import cuts, pairs
from facexfer.eval.pairwise.between import Found, pairs_between
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import all_pairs, gallery_probe_pairs, points_at_thresholds
from facexfer.eval.verification import OperatingPoint, tar_at_far

FARS = [0.5, 0.1, 0.01, 0.001, 1e-9]


def people(count: int, dimension: int = 16, identities: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, identities, count)
    centres = generator.normal(size=(identities, dimension))
    return (centres[labels] + generator.normal(size=(count, dimension))).astype(np.float32), labels


def brute_force(
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    probe: np.ndarray,
    probe_labels: np.ndarray,
    counted: np.ndarray,
    fars: list[float] = FARS,
) -> tuple[OperatingPoint, ...]:
    units = [e / torch.from_numpy(e).norm(dim=1, keepdim=True).numpy() for e in (gallery, probe)]
    matrix = units[0] @ units[1].T
    same = gallery_labels[:, None] == probe_labels[None, :]
    return tar_at_far(matrix[same & counted], matrix[~same & counted], fars)


def figures(points):
    return [(p.far, p.threshold, p.achieved_far, p.tar, p.genuine_pairs, p.impostor_pairs) for p in points]


def assert_equal_points(points: tuple[OperatingPoint, ...], expected: tuple[OperatingPoint, ...]) -> None:
    for point, other in zip(points, expected, strict=True):
        assert (point.supported, point.genuine_pairs, point.impostor_pairs) == (
            other.supported, other.genuine_pairs, other.impostor_pairs,
        )  # fmt: skip
        if other.supported:
            assert point.threshold == pytest.approx(other.threshold, abs=1e-6)
            assert point.achieved_far == pytest.approx(other.achieved_far, abs=2 / other.impostor_pairs)
            assert point.tar == pytest.approx(other.tar, abs=2 / other.genuine_pairs)


@pytest.mark.parametrize("block", [7, 64, 1024])
def test_all_pairs_equals_brute_force_whatever_the_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(pairs, "BLOCK", block)
    embeddings, labels = people(300)
    upper = np.triu(np.ones((300, 300), dtype=bool), 1)
    assert_equal_points(all_pairs(embeddings, labels, FARS), brute_force(embeddings, labels, embeddings, labels, upper))


@pytest.mark.parametrize("block", [7, 1024])
def test_ties_are_exact(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Sign vectors of 16 values: scores are exact multiples of 1/8, most of them tied."""
    monkeypatch.setattr(pairs, "BLOCK", block)
    generator = np.random.default_rng(1)
    embeddings = generator.choice([-1.0, 1.0], (120, 16)).astype(np.float32)
    labels = generator.integers(0, 10, 120)
    rows, columns = np.triu_indices(120, 1)
    values = (embeddings[rows] * embeddings[columns]).sum(1) / 16
    same = labels[rows] == labels[columns]
    assert figures(all_pairs(embeddings, labels, FARS)) == figures(tar_at_far(values[same], values[~same], FARS))


@pytest.mark.parametrize("block", [7, 1024])
def test_gallery_against_probe_leaves_captures_out(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(pairs, "BLOCK", block)
    gallery, gallery_labels = people(80, seed=2)
    probe, probe_labels = people(90, seed=3)
    gallery_captures = np.array([f"c{i % 60}" if i % 7 else None for i in range(80)], dtype=object)
    probe_captures = np.array([f"c{i % 50}" if i % 5 else None for i in range(90)], dtype=object)
    counted = np.array([[g is None or p is None or g != p for p in probe_captures] for g in gallery_captures])
    points = gallery_probe_pairs(gallery, gallery_labels, probe, probe_labels, FARS, gallery_captures, probe_captures)
    assert_equal_points(points, brute_force(gallery, gallery_labels, probe, probe_labels, counted))


@pytest.mark.parametrize("kept", [0, 50, 2000, 20_000])
@pytest.mark.parametrize("levels", [0, 3, 40])
def test_limits_from_a_sample_change_nothing(monkeypatch: pytest.MonkeyPatch, kept: int, levels: int) -> None:
    """With few levels most scores tie; the thresholds then lie on values that many pairs share."""
    monkeypatch.setattr(pairs, "BLOCK", 64)
    embeddings, labels = people(400)
    if levels:
        embeddings = np.sign(embeddings) if levels == 3 else np.round(embeddings * levels / 8)
        embeddings[np.abs(embeddings).sum(1) == 0] = 1
    fars = [1.0, 0.7, 0.5, 0.2, 0.1, 0.01, 1e-3, 1e-4]
    whole = all_pairs(embeddings, labels, fars)
    monkeypatch.setattr(cuts, "KEPT", kept)
    seen = all_pairs(embeddings, labels, fars)
    assert figures(seen) == figures(whole)
    # Without the pairs themselves, the interval of the false accept rate can only be wider, and that of the true
    # accept rate takes the threshold as it is.
    fixed = points_at_thresholds(PairSet.within(embeddings, labels), [point.threshold for point in whole])
    for point, other, given in zip(seen, whole, fixed, strict=True):
        assert point.tar_ci95 in (other.tar_ci95, given.tar_ci95)
        assert point.far_ci95[0] <= other.far_ci95[0] + 1e-12
        assert point.far_ci95[1] >= other.far_ci95[1] - 1e-12


def test_a_threshold_at_zero_is_found_where_denormals_are_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next float above zero is a denormal, which then is zero itself: the search for the median never ended."""
    monkeypatch.setattr(pairs, "BLOCK", 64)
    embeddings, labels = people(400)
    embeddings = np.sign(embeddings)
    embeddings[np.abs(embeddings).sum(1) == 0] = 1
    assert torch.set_flush_denormal(True)
    try:
        whole = all_pairs(embeddings, labels, [0.5])
        monkeypatch.setattr(cuts, "KEPT", 0)
        assert figures(all_pairs(embeddings, labels, [0.5])) == figures(whole)
        assert whole[0].threshold == 0
    finally:
        torch.set_flush_denormal(False)


def test_a_misleading_sample_only_costs_another_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, labels = people(400)
    whole = all_pairs(embeddings, labels, [0.5, 0.1, 0.01])
    monkeypatch.setattr(cuts, "KEPT", 0)
    passes = []
    fill = cuts.fill_bands

    def counted(*given: Any) -> Any:
        passes.append(1)
        return fill(*given)

    monkeypatch.setattr(cuts, "fill_bands", counted)
    for shift in (-0.3, 0.0, 0.3):
        wrong = torch.linspace(1, -1, 500) * 0.1 + shift
        monkeypatch.setattr(cuts, "sample_scores", lambda *given, wrong=wrong: (wrong, 80_000 / 500))
        passes.clear()
        assert figures(all_pairs(embeddings, labels, [0.5, 0.1, 0.01])) == figures(whole)
        assert len(passes) > 1


@pytest.mark.parametrize("values", [1, 2, 6])
def test_scores_that_nearly_all_tie_need_no_room(monkeypatch: pytest.MonkeyPatch, values: int) -> None:
    """So many pairs share each score that none of the values' pairs fit; each is looked at alone."""
    generator = np.random.default_rng(0)
    embeddings = np.eye(8)[generator.integers(0, values, 500)] + 1
    labels = generator.integers(0, 60, 500)
    fars = [1.0, 0.9, 0.6, 0.3, 0.2, 0.1, 0.01, 1e-3]
    whole = all_pairs(embeddings, labels, fars)
    room = []

    def watched(*given: Any) -> Any:
        between: Any = pairs_between(*given)
        find = between.found

        def found() -> Found:
            result: Found = find()
            room.append(len(result.kept.scores))
            return result

        between.found = found
        return between

    monkeypatch.setattr(cuts, "pairs_between", watched)
    monkeypatch.setattr(cuts, "KEPT", 100)
    assert figures(all_pairs(embeddings, labels, fars)) == figures(whole)
    assert max(room) <= cuts.LEAST_ROOM


@pytest.mark.slow
def test_5000_by_5000_cross_spectral_pairs_equal_brute_force() -> None:
    gallery, gallery_labels = people(5000, 32, 400, seed=2)
    probe, probe_labels = people(5000, 32, 400, seed=2)
    probe += np.random.default_rng(5).normal(size=probe.shape).astype(np.float32)
    captures = np.array([f"c{number // 2}" for number in range(5000)], dtype=object)
    counted = captures[:, None] != captures[None]
    fars = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8]
    points = gallery_probe_pairs(gallery, gallery_labels, probe, probe_labels, fars, captures, captures)
    assert points[0].impostor_pairs > cuts.KEPT
    assert_equal_points(points, brute_force(gallery, gallery_labels, probe, probe_labels, counted, fars))


@pytest.mark.parametrize("kept", [4_000_000, 300])
def test_wide_blocks_and_any_strips_change_nothing(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """As a GPU takes them; an identity of many images does not fit one strip."""
    embeddings, labels = people(400)
    labels[:150] = 0
    captures = np.array([f"c{i % 60}" for i in range(200)], dtype=object)
    cross = (embeddings[:200], labels[:200], embeddings[200:], labels[200:], FARS, captures, captures)
    plain = all_pairs(embeddings, labels, FARS), gallery_probe_pairs(*cross)
    monkeypatch.setattr(cuts, "KEPT", kept)
    for block, strip in (((8, 100), 3), ((50, 1000), 70)):
        monkeypatch.setattr(pairs, "shape_of_blocks", lambda device, shape=(*block, strip): shape)
        for points, expected in zip(
            (all_pairs(embeddings, labels, FARS), gallery_probe_pairs(*cross)), plain, strict=True
        ):
            assert_equal_points(points, expected)


def test_tensors_are_taken_as_they_are() -> None:
    embeddings, labels = people(60)
    assert all_pairs(torch.from_numpy(embeddings), labels, FARS) == all_pairs(embeddings, labels, FARS)
    with pytest.raises(InputError, match="of real numbers, got torch.complex64"):
        all_pairs(torch.from_numpy(embeddings).to(torch.complex64), labels, FARS)
    before = embeddings.copy()
    embeddings[:, 0] = 1e25
    kept = embeddings.copy()
    all_pairs(embeddings, labels, FARS)
    assert (embeddings == kept).all()
    assert not (before == kept).all()


def test_labels_may_be_names() -> None:
    embeddings, labels = people(60)
    assert all_pairs(embeddings, np.array([f"p{label}" for label in labels]), [0.1]) == all_pairs(
        embeddings, labels, [0.1]
    )


def test_lengths_of_embeddings_do_not_matter() -> None:
    embeddings, labels = people(60)
    stretched = embeddings * np.random.default_rng(0).uniform(0.5, 2, (60, 1)).astype(np.float32)
    assert_equal_points(all_pairs(stretched, labels, FARS), all_pairs(embeddings, labels, FARS))


@pytest.mark.parametrize("factor", [1e-30, 1e25, 1e-300])
def test_very_small_and_very_large_embeddings_are_sound(factor: float) -> None:
    embeddings, labels = people(60)
    assert_equal_points(
        all_pairs(embeddings.astype(np.float64) * factor, labels, FARS), all_pairs(embeddings, labels, FARS)
    )


def test_bad_input_is_an_error() -> None:
    embeddings, labels = people(20)
    with pytest.raises(InputError, match=r"labels without NaN, got 1, the first at 4"):
        all_pairs(embeddings, np.where(np.arange(20) == 4, np.nan, labels), [0.1])
    with pytest.raises(InputError, match="of real numbers, got complex64"):
        all_pairs(embeddings.astype(np.complex64), labels, [0.1])
    with pytest.raises(InputError, match=r"labels of shape \(20,\), got \(19,\)"):
        all_pairs(embeddings, labels[:19], [0.1])
    with pytest.raises(InputError, match="got 1 with NaN, infinity or only zeros, the first in row 3"):
        all_pairs(np.where(np.arange(20)[:, None] == 3, 0, embeddings), labels, [0.1])
    with pytest.raises(InputError, match="at least one genuine pair"):
        all_pairs(embeddings, np.arange(20), [0.1])
    with pytest.raises(InputError, match="at least one impostor pair"):
        all_pairs(embeddings, np.zeros(20), [0.1])
    with pytest.raises(InputError, match=r"embeddings of shape \(N, D\)"):
        all_pairs(embeddings[0], labels, [0.1])
    with pytest.raises(InputError, match="of one size, got 16 and 8"):
        gallery_probe_pairs(embeddings, labels, embeddings[:, :8], labels, [0.1])
    with pytest.raises(InputError, match="expected 20 captures, got 3"):
        gallery_probe_pairs(embeddings, labels, embeddings, labels, [0.1], gallery_captures=np.array(["a", "b", "c"]))
