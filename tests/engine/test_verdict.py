"""When a run has failed: the figure that decides, and what it is compared with."""

import pytest

from facexfer.engine.verdict import AccuracyFigure, SourceFigure, Start
from facexfer.recipe import EvaluationSection, PairsSection

SETTINGS = EvaluationSection(
    fars=(1e-3, 1e-2, 1e-1), pairs=(PairsSection(probe="nir"), PairsSection(probe="vis", gallery="nir"))
)


def source_of(**figures: float | None):
    measured = []

    def measure():
        measured.append(figures)
        return {f"nir/tar@{far.replace('_', '.')}": value for far, value in figures.items()}

    return SourceFigure(SETTINGS, [Start("the network that it started from", measure)]), measured


@pytest.mark.parametrize(("now", "is_far"), [(0.0066, True), (0.64, True), (0.65, False), (0.74, False), (0.9, False)])
def test_far_below_is_less_than_three_quarters_of_the_source(now: float, is_far: bool) -> None:
    source, _ = source_of(**{"0_1": 0.857})
    said = source.shortfall({"nir/tar@0.1": now})
    assert (said != "") == is_far
    if is_far:
        assert said == f"nir/tar@0.1 is {100 * now:.2f} %, far below the 85.70 % of the network that it started from"


def test_the_source_is_measured_once_and_only_where_it_may_decide() -> None:
    source, measured = source_of(**{"0_1": 1.0})
    assert source.shortfall({"nir/tar@0.1": 0.76}) == ""
    assert measured == []
    assert source.shortfall({"nir/tar@0.1": 0.7}) != ""
    assert source.shortfall({"nir/tar@0.1": 0.6}) != ""
    assert len(measured) == 1


def test_the_largest_far_that_is_supported_decides_and_other_pairs_do_not() -> None:
    source, _ = source_of(**{"0_1": None, "0_01": 0.98})
    figures = {"nir/tar@0.1": None, "nir/tar@0.01": 0.95, "nir/tar@0.001": 0.1, "nir-vis/tar@0.1": 0.1}
    assert source.shortfall(figures) == ""
    assert "nir/tar@0.01" in source.shortfall({**figures, "nir/tar@0.01": 0.5})


def test_a_task_without_tar_has_no_shortfall() -> None:
    source, measured = source_of()
    assert source.shortfall({"top1": 0.1}) == ""
    assert measured == []


def test_the_bar_does_not_fall_with_a_source_that_a_measurement_has_ruined() -> None:
    starts = [
        Start("the network that it started from", lambda: {"nir/tar@0.1": 0.03}),
        Start("the untouched source", lambda: {"nir/tar@0.1": 0.99}),
    ]
    said = SourceFigure(SETTINGS, starts).shortfall({"nir/tar@0.1": 0.028})
    assert said == "nir/tar@0.1 is 2.80 %, far below the 99.00 % of the untouched source"
    assert SourceFigure(SETTINGS, starts[:1]).shortfall({"nir/tar@0.1": 0.028}) == ""


@pytest.mark.parametrize(("before", "is_said"), [(0.11, False), (0.19, False), (0.21, True)])
def test_a_source_at_chance_has_nothing_to_fall_from(before: float, is_said: bool) -> None:
    source, _ = source_of(**{"0_1": before})
    assert (source.shortfall({"nir/tar@0.1": 0.05}) != "") == is_said


@pytest.mark.parametrize(("before", "now", "is_said"), [(0.028, 0.0, False), (0.049, 0.0, False), (0.06, 0.0, True)])
def test_one_pair_of_a_few_is_no_fall(before: float, now: float, is_said: bool) -> None:
    source, _ = source_of(**{"0_01": before})
    assert (source.shortfall({"nir/tar@0.01": now}) != "") == is_said


def accuracy_of(before: float, loss: float | None = None, classes: int = 6, images: int = 36) -> AccuracyFigure:
    start = Start("the start", lambda: {"mean_class": before, "test/classification": loss})
    return AccuracyFigure(classes, images, [start])


@pytest.mark.parametrize(
    ("before", "now", "is_said"),
    [
        (0.94, 1 / 6, True),
        # Within two standard deviations of a sixth over 36 images, 0.062 each, it is chance.
        (0.94, 0.29, True),
        (0.94, 0.30, False),
        # A start at chance has nothing to lose.
        (0.3, 1 / 6, False),
    ],
)
def test_a_classifier_fails_that_falls_to_chance(before: float, now: float, is_said: bool) -> None:
    said = accuracy_of(before).shortfall({"mean_class": now})
    assert (said != "") == is_said
    if now == 1 / 6 and is_said:
        assert said == "mean_class is 16.67 %, no better than chance, far below the 94.00 % of the start"


def test_too_few_test_images_tell_nothing_of_chance() -> None:
    assert accuracy_of(1.0, classes=2, images=16).shortfall({"mean_class": 0.5}) == ""
    assert accuracy_of(1.0, classes=2, images=17).shortfall({"mean_class": 0.5}) != ""
    assert accuracy_of(1.0, classes=1).shortfall({"mean_class": 1.0}) == ""
    assert accuracy_of(1.0).shortfall({"nir/tar@0.1": 0.0}) == ""


@pytest.mark.parametrize(
    ("now", "loss", "start_loss", "is_lost"),
    [
        # A collapsed head that started at random, with 6.5; a guess is 1.79.
        (1 / 6, 39.0, 6.5, True),
        (1 / 6, 18.0, 6.5, False),
        (1 / 6, 5.0, 0.1, False),
        (1 / 6, 6.0, None, True),
        # Learnt by heart: far too sure of some, but right about others.
        (0.6, 39.0, 6.5, False),
        (1 / 6, float("nan"), 6.5, True),
    ],
)
def test_a_head_at_chance_is_lost_if_it_is_far_surer_than_at_the_start(
    now: float, loss: float, start_loss: float | None, is_lost: bool
) -> None:
    figure = accuracy_of(1 / 6, start_loss)
    assert figure.is_lost({"mean_class": now, "test/classification": loss}) == is_lost
    assert not figure.is_lost({"mean_class": now})
