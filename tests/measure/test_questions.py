"""What users ask, against slow answers on small sets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facexfer.data.failures import Failure
from facexfer.data.manifest import FaceImage
from facexfer.data.pairs_file import ListedPair
from facexfer.errors import InputError
from facexfer.eval.folds import fold_accuracy
from facexfer.eval.scores import operating_points
from facexfer.measure.evaluate import Request, evaluate_comparison
from facexfer.measure.pair_sets import Comparison, Side
from facexfer.measure.questions import before_and_after, count_failures, listed_accuracy, search, slice_by

FARS = [0.2, 0.05]


def side(seed: int = 0, identities: int = 12, images: int = 4, modality: str = "nir", noise: float = 1.0) -> Side:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(identities, 16))
    labels = np.repeat([f"p{number:02d}" for number in range(identities)], images)
    embeddings = np.repeat(centres, images, axis=0) + noise * generator.normal(size=(len(labels), 16))
    shots = np.array([f"{label}/{place % images}" for place, label in enumerate(labels)], dtype=object)
    rows = tuple(
        FaceImage(
            Path(f"{place}.png"), label, modality, "val", capture=shot, session="ab"[place % 2], extra={"hat": ""}
        )
        for place, (label, shot) in enumerate(zip(labels, shots, strict=True))
    )
    return Side(embeddings.astype(np.float32), labels, shots, rows)


def scores(gallery: Side, probe: Side) -> tuple[np.ndarray, np.ndarray]:
    units = [each.embeddings / np.linalg.norm(each.embeddings, axis=1, keepdims=True) for each in (gallery, probe)]
    return units[0] @ units[1].T, gallery.labels[:, None] == probe.labels[None]


def test_slices_use_the_thresholds_of_the_whole() -> None:
    whole = side()
    slices = slice_by(Comparison("nir", whole), "session", [0.3, 0.5])
    assert [part.value for part in slices] == ["a", "b"]
    matrix, same = scores(whole, whole)
    both = np.array([image.session == "b" for image in whole.images])
    counted = np.triu(both[:, None] & both[None], 1)
    for point, threshold in zip(slices[1].points, (0.3, 0.5), strict=True):
        assert point.tar == pytest.approx((matrix[same & counted] > threshold).mean())
        assert point.achieved_far == pytest.approx((matrix[~same & counted] > threshold).mean())
    (empty,) = slice_by(Comparison("nir", whole), "hat", [0.3])
    assert empty.value == "(empty)"


def test_slices_against_a_gallery_take_the_probes_value() -> None:
    gallery, probe = side(1, modality="vis"), side()
    part = slice_by(Comparison("vis-nir", probe, gallery), "session", [0.3])[0]
    matrix, same = scores(gallery, probe)
    counted = gallery.captures[:, None] != probe.captures[None]
    counted &= np.array([image.session == "a" for image in probe.images])[None]
    assert part.points[0].tar == pytest.approx((matrix[same & counted] > 0.3).mean())


def test_slices_that_cannot_be() -> None:
    whole = side()
    with pytest.raises(InputError, match="to slice by, got 'camera'; there are hat, session"):
        slice_by(Comparison("nir", whole), "camera", [0.3])
    with pytest.raises(InputError, match="at most 50 values"):
        slice_by(Comparison("nir", side(identities=60)), "capture", [0.3])
    alone = Comparison("nir", side(images=1))
    assert "genuine pair" in slice_by(alone, "session", [0.3])[0].remark


def test_failures_are_rejects() -> None:
    whole = Comparison("nir", side())
    points = operating_points(whole.pairs(), [0.2, 1e-9])
    counted = count_failures(whole, points, [Failure("p00"), Failure("p00"), Failure("stranger")], [])
    # 12 people of 4 photos, one of them with 6: 11 * 6 + 15 pairs.
    assert counted.genuine_pairs == 81
    assert counted.genuine_pairs + counted.impostor_pairs == 51 * 50 // 2
    assert counted.tar[0] == pytest.approx(points[0].tar * 72 / 81)
    assert counted.far[0] == points[0].false_accepts / counted.impostor_pairs
    assert (counted.tar[1], counted.far[1]) == (None, None)
    cross = Comparison("vis-nir", side(), side(1))
    points = operating_points(cross.pairs(), [0.2])
    counted = count_failures(cross, points, [Failure("p00", capture="p00/0")], [Failure("p01")])
    # Each person has 4 * 4 - 4 pairs; the failed probe meets 3 of its gallery, the failed gallery photo 4 probes.
    assert counted.genuine_pairs == 12 * 12 + 3 + 4
    assert counted.failures == (1, 1)


@pytest.mark.parametrize(("photos", "lost"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)])
def test_a_person_without_a_crop_is_missed_in_templates_of_one_set(photos: int, lost: int) -> None:
    """As of everybody, half of the captures would be the template, and each of the others one genuine pair with it."""
    whole = Comparison("nir", side())
    failed = [Failure("stranger", capture=f"stranger/{photo}") for photo in range(photos)]
    found = evaluate_comparison(whole, Request((0.2,), templates=True, probe_failures=(*failed, Failure("p00"))))
    counted = found.failures
    # 12 people with 2 photos in the template and 2 others; the failed one of p00 meets the template, too.
    assert counted.genuine_pairs == 12 * 2 + 1 + lost
    assert counted.genuine_pairs + counted.impostor_pairs == (12 * 2 + 1 + lost) * (12 + (photos > 0))
    assert counted.tar[0] == pytest.approx(found.points[0].tar * 24 / counted.genuine_pairs)
    assert counted.failures == (0, photos + 1)


def test_a_probe_without_a_gallery_photo_is_no_genuine_pair_in_templates() -> None:
    cross = Comparison("vis-nir", side(), side(1)).with_templates()
    points = operating_points(cross.pairs(), [0.2])
    stranger = [Failure("stranger")] * 4
    assert count_failures(cross, points, stranger, []).genuine_pairs == points[0].genuine_pairs
    assert count_failures(cross, points, stranger, stranger).genuine_pairs == points[0].genuine_pairs + 4


@pytest.mark.parametrize("modality", ["nir", None])
def test_a_failed_photo_forms_no_pair_with_its_own_shot(modality: str | None) -> None:
    """As two images of one shot and modality form none; here the shot is of two images and one failed photo."""
    given = side()
    shots = np.empty(len(given.labels), dtype=object)
    shots[:] = [(image.identity, image.modality, image.capture) for image in given.images]
    shots[1] = shots[0]
    whole = Comparison("nir", replace(given, shots=shots))
    points = operating_points(whole.pairs(), [0.2])
    assert points[0].genuine_pairs == 12 * 6 - 1
    failed = Failure("p00", modality, capture="p00/0")
    assert count_failures(whole, points, [failed], []).genuine_pairs == points[0].genuine_pairs + 2
    assert count_failures(whole, points, [failed, failed], []).genuine_pairs == points[0].genuine_pairs + 4


@pytest.mark.parametrize("templates", [False, True])
@pytest.mark.parametrize("gallery", [False, True])
def test_search_never_meets_an_enrolled_shot(templates: bool, gallery: bool) -> None:
    comparison = Comparison("x", side(), side(1) if gallery else None)
    found = search(comparison, [0.1], templates)
    enrolled_shots = 2 if templates else 1
    assert (found.enrolled, found.mated_probes) == (12, 12 * (4 - enrolled_shots))
    assert len(found.open_set) == 1
    assert found.open_set[0].impostor_pairs == 6 * (4 - enrolled_shots)
    assert 0.5 < found.rank1 <= 1
    if templates:
        assert found.rank1 >= search(comparison, [0.1], False).rank1 - 0.1


@pytest.mark.parametrize("person", ["p00", "p01", "p02"])
def test_search_of_one_person_alone(person: str) -> None:
    """Whether that person stays enrolled in the open set's half or not: rank 1 has an answer."""
    everybody = side(identities=3, noise=0.2)
    chosen = [place for place, name in enumerate(everybody.labels) if place % 4 == 0 or name == person]
    found = search(Comparison("x", everybody.take(np.array(chosen))), [0.1], templates=False)
    assert (found.enrolled, found.mated_probes, found.rank1) == (3, 3, 1)
    assert found.open_set == ()


def test_templates_compare_one_entry_an_identity() -> None:
    pairs = Comparison("x", side()).with_templates().pairs()
    assert (pairs.genuine_pairs, pairs.impostor_pairs) == (24, 24 * 11)


def test_pairs_of_a_list() -> None:
    whole = side(noise=0.3)
    pairs = [ListedPair(place, place + 1, True, place % 2) for place in range(0, 40, 4)]
    pairs += [ListedPair(place, place + 5, False, place // 4 % 2) for place in range(0, 40, 4)]
    matrix, same = scores(whole, whole)
    places = np.array([(pair.first, pair.second) for pair in pairs]).T
    expected = fold_accuracy(matrix[*places], same[*places], np.array([pair.fold for pair in pairs]))
    assert listed_accuracy(whole, pairs).folds == expected.folds


def test_old_gallery_and_new_probes() -> None:
    old, new = side(), side(5)
    both = before_and_after(Comparison("nir", old), Comparison("nir", new), FARS)
    matrix, same = scores(old, new)
    counted = ~np.eye(48, dtype=bool)
    for point, kept, former in zip(both.mixed, both.mixed_at_old_thresholds, both.old, strict=True):
        assert point.tar == pytest.approx((matrix[same & counted] > point.threshold).mean(), abs=0.01)
        assert kept.threshold == former.threshold
        assert kept.achieved_far == pytest.approx((matrix[~same & counted] > former.threshold).mean(), abs=0.001)
    assert both.mixed[0].genuine_pairs == 12 * 12
    assert [each.far for each in both.differences] == FARS


def test_networks_of_other_sizes_cannot_be_mixed() -> None:
    new = side()
    old = Side(new.embeddings[:, :8], new.labels, new.captures)
    both = before_and_after(Comparison("nir", old), Comparison("nir", new), FARS)
    assert (both.mixed, both.mixed_at_old_thresholds) == ((), ())
    assert len(both.differences) == 2
