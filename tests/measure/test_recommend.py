import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facexfer.data.failures import Failure
from facexfer.errors import InputError
from facexfer.eval.report.findings import WithFailures
from facexfer.eval.report.verification_page import make_page
from facexfer.measure.evaluate import Request, evaluate_comparison
from facexfer.measure.evaluation import Evaluation, evaluate, recommend_into
from facexfer.measure.pair_sets import compare_arrays
from facexfer.measure.recommend import Door, _rounded, _rounded_down, recommend


def draw(people: int = 80, images: int = 6, seed: int = 0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(people, 1, 32))
    embeddings = centres + 1.0 * generator.normal(size=(people, images, 32))
    return embeddings.reshape(-1, 32).astype(np.float32), np.repeat(np.arange(people), images)


@pytest.fixture(scope="module")
def measured():
    return draw()


def advice_for(measured, door, **more: Any):
    found = evaluate(embeddings=measured[0], labels=measured[1], fars=[1e-2], door=door, **more)
    return found, json.loads(found.to_json())["recommendation"]


def test_one_to_one_is_the_operating_point_of_the_rate(measured) -> None:
    door = Door(daily_attempts=500, impostor_share=0.01, max_false_accepts_per_year=2)
    found, advice = advice_for(measured, door)
    far = 2 / (500 * 0.01 * 365)
    (point,) = evaluate(embeddings=measured[0], labels=measured[1], fars=[far]).points
    assert advice["far"] == pytest.approx(far)
    assert advice["threshold"] == point.threshold
    assert advice["is_extrapolated"] is False
    assert advice["false_accepts_per_year"] == pytest.approx(
        [1825 * point.achieved_far, *(1825 * bound for bound in point.far_ci95)]
    )
    assert advice["false_accepts_per_year"][0] <= 2
    assert advice["false_rejects_per_day"][0] == pytest.approx(495 * (1 - point.tar))
    assert "recommended for 1:1, 500 attempts per day, 1 % by impostors: threshold" in found.table()


def test_a_photo_without_a_crop_is_a_false_reject(measured) -> None:
    whole = compare_arrays(measured[0], measured[1], None, None)
    door = Door(500, 0.01, 2)
    crops = recommend(whole, whole.pairs(), door)
    with_failed = recommend(whole, whole.pairs(), door, failed=120)
    accepted = [495 - each for each in crops.false_rejects_per_day]
    assert [495 - each for each in with_failed.false_rejects_per_day] == pytest.approx([0.8 * n for n in accepted])
    assert with_failed.false_accepts_per_year == crops.false_accepts_per_year
    assert with_failed.lines()[2] == "  false rejects per day: 301 (95 % CI 275 to 326), with 120 of 600 photos failed"
    assert "failed" not in "".join(crops.lines())


def test_an_evaluation_counts_failures_at_the_door_and_says_that_searches_do_not(measured) -> None:
    whole = compare_arrays(measured[0], measured[1], None, None)
    request = Request((1e-2,), identify=True, probe_failures=(Failure("7"),) * 20, door=Door(500, 0.01, 100))
    failures = WithFailures((0, 20), 1, 1, (None,), (None,))
    with pytest.MonkeyPatch.context() as patch:
        # Arrays have no identities by which photos are told.
        patch.setattr("facexfer.measure.evaluate.count_failures", lambda *given: failures)
        found = Evaluation(evaluate_comparison(whole, request))
    assert ", with 20 of 500 photos failed" in found.table()
    assert "probes among 80 people; 20 failed photos are not counted" in found.table()
    assert "20 failed photos are not counted here." in make_page(found.findings)


def test_a_gallery_needs_a_stricter_threshold(measured) -> None:
    single = advice_for(measured, Door(500, 0.01, 100))[1]
    found, advice = advice_for(measured, Door(500, 0.01, 100, gallery_size=50))
    assert advice["threshold"] > single["threshold"]
    assert advice["dependence"]["power"] == pytest.approx(1.0, abs=0.1)
    assert advice["false_accepts_per_year"][0] <= 100 * 1.01
    assert "a gallery of N counts as N^" in found.table()


def test_how_a_gallery_counts_is_not_told_from_two_people(measured) -> None:
    embeddings, labels = measured
    whose = np.repeat(labels[labels < 2], 20)
    probes = embeddings[6 * whose] + 0.5 * np.random.default_rng(5).normal(size=(len(whose), embeddings.shape[1]))
    with pytest.raises(InputError, match="enough people and alarms .*, got 80 enrolled people and 2 who are looked up"):
        evaluate(
            embeddings=probes, labels=whose, gallery_embeddings=embeddings, gallery_labels=labels, fars=[1e-2],
            door=Door(500, 0.01, 100, gallery_size=50),
        )  # fmt: skip


def test_what_the_pairs_do_not_support_is_refused_or_marked(measured) -> None:
    door = Door(500, 0.01, 0.005)
    with pytest.raises(
        InputError, match=r"expected pairs that support FAR 2\.7e-06, which this door needs.*--extrapolate"
    ):
        advice_for(measured, door)
    # Rounded up it could be a FAR that the pairs do support.
    assert [_rounded_down(far) for far in (3.5e-5, 2.7e-6, 9.99e-4)] == ["3e-05", "2e-06", "9e-04"]
    found, advice = advice_for(measured, door, extrapolate=[2.7e-6])
    assert advice["is_extrapolated"] is True
    assert "extrapolated, not measured" in found.table()
    with pytest.raises(InputError, match="cannot be extrapolated: .* validated to 30 times"):
        advice_for(measured, Door(500, 0.01, 0.0001), extrapolate=[2.7e-6])


@pytest.mark.parametrize(
    ("people", "images", "accepts"), [(8, 8, 0.9), (59, 8, 0.005), (61, 2, 0.05), (80, 6, 0.0001), (80, 6, 0.00054)]
)
def test_nothing_is_suggested_that_would_be_refused(people: int, images: int, accepts: float) -> None:
    """Too few people, too few pairs, too far below them; or as it is written, rounded down to one digit."""
    door = Door(500, 0.01, accepts)
    with pytest.raises(InputError, match=r"expected pairs that support FAR .*; measure more people$") as refused:
        advice_for(draw(people, images), door)
    assert "--extrapolate" not in str(refused.value)


def test_what_is_suggested_is_accepted(measured) -> None:
    door = Door(500, 0.01, 0.005)
    with pytest.raises(InputError, match="; measure more people, or add --extrapolate 2e-06$"):
        advice_for(measured, door)
    found, advice = advice_for(measured, door, extrapolate=[2e-6])
    assert advice["is_extrapolated"] is True
    assert "refused" not in found.table()


def test_small_and_large_numbers_are_written_out() -> None:
    assert _rounded((0.0005, 0.00002, 0.01), 2) == "0.0005 (95 % CI 0.00002 to 0.01)"
    assert _rounded((28.14, 0.0, 1234567.0), 3) == "28.1 (95 % CI 0 to 1,230,000)"


@pytest.mark.parametrize(
    "values",
    [
        (0, 0.01, 1), (500, 0.0, 1), (500, 1.0, 1), (500, 0.01, 0), (math.inf, 0.01, 1), (math.nan, 0.01, 1),
        (500, math.nan, 1), (500, 0.01, math.nan), (500, 0.01, math.inf),
    ],
)  # fmt: skip
def test_a_door_that_nobody_can_use(values: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="expected finite attempts and false accepts above 0"):
        Door(*values)
    with pytest.raises(InputError, match="expected a gallery of at least 1 person"):
        Door(500, 0.01, 1, gallery_size=0)
    with pytest.raises(InputError, match=r"of which there are 3\.65, got 4, which any threshold keeps to"):
        Door(10, 0.001, 4)


def test_few_people_tell_nothing_of_galleries() -> None:
    with pytest.raises(InputError, match="expected enough people and alarms"):
        advice_for(draw(people=8, images=20), Door(500, 0.01, 100, gallery_size=50))


def test_a_gallery_of_one_person_is_one_to_one() -> None:
    few = draw(people=8, images=20)
    single, none = (advice_for(few, Door(500, 0.01, 100, gallery_size=size)) for size in (1, None))
    assert "recommended for 1:1, 500" in single[0].table()
    assert {**single[1], "door": none[1]["door"]} == none[1]


def test_it_goes_into_the_bundle_that_was_measured_alone(measured, tmp_path: Path) -> None:
    found, _ = advice_for(measured, Door(500, 0.01, 2))
    with pytest.raises(InputError, match="expected an evaluation of the bundle with a door"):
        recommend_into(tmp_path, found)
