import math

import numpy as np
import pytest

from facexfer.errors import InputError
from facexfer.eval.design import Dependence, Design, describe_design, people_for
from facexfer.eval.intervals import wilson_interval
from facexfer.eval.scores import all_pairs

INDEPENDENT = Dependence(0.0, 0.0, 0.0, 0.0, 0.0)


def test_pairs_and_rules() -> None:
    design = Design(80, 6)
    assert design.genuine_pairs == 80 * 15
    assert design.impostor_pairs == 80 * 79 // 2 * 36
    assert design.smallest_far(30) == pytest.approx(30 / design.impostor_pairs)


def test_without_dependence_the_intervals_are_those_of_independent_pairs() -> None:
    design = Design(200, 4, INDEPENDENT)
    pairs = design.impostor_pairs
    assert design.far_interval(1e-3) == pytest.approx(wilson_interval(1e-3 * pairs, pairs))
    low, high = design.tar_interval(0.9, 1e-3)
    half = 1.96 / math.sqrt(design.genuine_pairs * 0.9 * 0.1)
    assert math.log(high / (1 - high)) - math.log(low / (1 - low)) == pytest.approx(2 * half, rel=1e-3)


def test_more_images_of_the_same_people_help_less_and_less() -> None:
    widths = [Design(80, images).tar_width(0.95, 1e-3) for images in (3, 6, 12, 24)]
    assert widths == sorted(widths, reverse=True)
    assert widths[2] - widths[3] < widths[0] - widths[1]
    # With so many images the people alone count: the pairs of each are worth 1 / genuine.
    only_people = Design(80, 2000, Dependence(slope=0.0))
    assert only_people.tar_effect() / only_people.genuine_pairs == pytest.approx(0.24 / 80, rel=0.01)


def test_people_for_is_the_fewest() -> None:
    def is_narrow(design):
        return design.tar_width(0.95, 1e-3) <= 0.03

    people = people_for(6, is_narrow)
    assert is_narrow(Design(people, 6))
    assert not is_narrow(Design(people - 1, 6))
    assert people_for(6, lambda design: False) is None


@pytest.mark.slow
def test_what_is_expected_is_what_is_measured_on_average() -> None:
    """People around centres of their own; the dependence was measured on faces, so a factor of three is allowed."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(20):
        centres = generator.normal(size=(80, 1, 64))
        spreads = 1.5 * np.exp(0.3 * generator.normal(size=(80, 1, 1)))
        embeddings = (centres + spreads * generator.normal(size=(80, 6, 64))).reshape(-1, 64).astype(np.float32)
        (point,) = all_pairs(embeddings, np.repeat(np.arange(80), 6), [1e-3])
        low, high = Design(80, 6).tar_interval(point.tar, 1e-3)
        of_rate = Design(80, 6).far_interval(1e-3)
        found.append(
            [
                (high - low) / (point.tar_ci95[1] - point.tar_ci95[0]),
                math.log(of_rate[1] / of_rate[0]) / math.log(point.far_ci95[1] / point.far_ci95[0]),
            ]
        )
    for ratio in np.median(found, axis=0):
        assert 1 / 3 < ratio < 3


def test_the_lines_say_what_is_claimable_and_what_a_width_takes() -> None:
    lines = describe_design(Design(80, 6), 1e-5, 0.95, 0.02)
    assert lines[0] == "80 people with 6 images each: 1,200 genuine and 113,760 impostor pairs"
    assert lines[2] == (
        "  supported: holds; needs 100,000 impostor pairs (76 people); this set's smallest FAR is 8.8e-06"
    )
    assert "rule of thirty: does not hold; needs 3,000,000 impostor pairs (409 people)" in lines[4]
    assert any(line.startswith("  2 points wide: ") for line in lines)
    assert "more images of the same 80 people cannot do it" in lines[-1]


def test_no_width_is_promised_at_a_rate_that_the_pairs_do_not_support() -> None:
    lines = describe_design(Design(80, 2), 1e-9, 0.95, 0.2)
    assert "needs 1,000,000,000 impostor pairs (22,362 people)" in lines[2]
    assert lines[-4:] == [
        "TAR: not measured at FAR 1e-09 with so few impostor pairs",
        "  20 points wide: 22,362 people with 2 images each",
        "  20 points wide: 11,181 people with 4 images each",
        "  more images of the same 80 people cannot do it: FAR 1e-09 is not supported",
    ]


def test_what_is_no_test_set_and_no_rate() -> None:
    with pytest.raises(InputError, match="expected at least 2 people with at least 2 images each, got 80 and 1"):
        Design(80, 1)
    with pytest.raises(InputError, match="expected a TAR between 0 and 100 %, got 9500; write 95 for 95 %"):
        describe_design(Design(80, 6), 1e-5, 95.0)
    with pytest.raises(InputError, match="expected a FAR between 0 and 1, got 1;"):
        describe_design(Design(80, 6), 1.0, 0.95)
    with pytest.raises(InputError, match="expected a FAR of at least 1e-15, got 1e-20"):
        describe_design(Design(80, 6), 1e-20, 0.95)
    with pytest.raises(InputError, match="expected a FAR above 0 and at most 1, got 7"):
        describe_design(Design(80, 6), 7, 0.95)
    assert Design(2, 2).smallest_far(30) == 1.0
    lines = describe_design(Design(100, 2), 1e-13, 0.999999, 0.01)
    assert "needs 300,000,000,000,000 impostor pairs (more than ten million people)" in lines[4]
