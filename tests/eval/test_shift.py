"""Shift of a log: by hand, against slow references, and how often it is seen where nothing has moved."""

import numpy as np
import pytest

from facexfer.eval.intervals import identity_interval
from facexfer.eval.shift import AcceptedScores, rate_shift, shape_shift, shares_by_group, time_trend

THRESHOLD = 0.45
LEVELS = np.linspace(0.1, 0.9, 9)


def draw(generator, people, attempts, shift: float = 0.0):
    """Draw scores of people who differ, each with several attempts."""
    users = np.repeat(np.arange(people), generator.integers(*attempts, people))
    noise = generator.normal(size=len(users))
    return 0.6 + shift + 0.08 * generator.normal(size=people)[users] + 0.1 * noise, users


def measure(generator, people: int = 80, pairs: tuple[int, int] = (50, 200)):
    """Summarise a measured set of the same distribution."""
    scores, users = draw(generator, people, pairs)
    hits = scores > THRESHOLD
    cuts = np.quantile(scores[hits], LEVELS)
    above, covariance, identities = shares_by_group(scores[hits][:, None] > cuts, users[hits])
    bounds = identity_interval(np.bincount(users, weights=hits), np.bincount(users).astype(float))
    return AcceptedScores(THRESHOLD, float(hits.mean()), bounds, 1e-4, cuts, above, covariance, identities)


def test_the_covariance_by_group_is_that_of_the_definition() -> None:
    generator = np.random.default_rng(0)
    above, groups = generator.random((40, 3)) > 0.4, generator.integers(0, 7, 40)
    shares, covariance, count = shares_by_group(above, groups)
    assert count == len(set(groups))
    expected = np.zeros((3, 3))
    for group in set(groups):
        residual = sum(above[place] - shares for place in np.flatnonzero(groups == group)) / 40
        expected += np.outer(residual, residual)
    assert covariance == pytest.approx(expected * count / (count - 1))


def test_one_attempt_a_user_gives_the_binomial_variance() -> None:
    above = np.array([[1], [0], [1], [1], [0]], dtype=bool)
    _, covariance, _ = shares_by_group(above, np.arange(5))
    assert covariance[0, 0] == pytest.approx(0.6 * 0.4 / 4)


def test_repeated_attempts_of_one_user_are_one() -> None:
    generator = np.random.default_rng(1)
    scores, users = draw(generator, 30, (5, 6))
    measured = measure(generator)
    once = shape_shift(scores, users, measured)
    often = shape_shift(np.tile(scores, 4), np.tile(users, 4), measured)
    assert often.p_value == pytest.approx(once.p_value, abs=1e-6)
    assert often.distance == pytest.approx(once.distance)


def test_a_rate_within_the_prediction_is_no_shift() -> None:
    measured = measure(np.random.default_rng(2))
    users = np.arange(200)
    least = 0.8 * measured.genuine_rate + 0.2 * measured.impostor_rate
    accepted = np.arange(200) < 200 * (least + measured.genuine_rate) / 2
    inside = rate_shift(accepted, users, measured, impostor_share=0.2)
    assert inside.p_value == 1
    assert inside.expected == pytest.approx((least, measured.genuine_rate))
    below = rate_shift(np.arange(200) < 120, users, measured, impostor_share=0.2)
    assert below.p_value < 0.02
    assert rate_shift(np.arange(200) < 120, users, measured, impostor_share=0.5).p_value == 1


def test_the_interval_of_a_rate_is_by_user() -> None:
    measured = measure(np.random.default_rng(3))
    accepted, users = np.tile(np.arange(40) < 36, 10), np.tile(np.arange(40), 10)
    found = rate_shift(accepted, users, measured, 0.0)
    assert found.observed_ci95 == identity_interval(10.0 * (np.arange(40) < 36), np.full(40, 10.0))


def test_a_trend_is_the_least_squares_line() -> None:
    generator = np.random.default_rng(4)
    times, users = generator.random(60), np.arange(60)
    values = 0.7 - 0.2 * times + 0.01 * generator.normal(size=60)
    found = time_trend(values, times, users)
    slope = np.polyfit(times, values, 1)[0]
    assert found.observed == pytest.approx(slope * np.ptp(times))
    assert found.observed_ci95[0] < found.observed < found.observed_ci95[1] < 0
    assert found.p_value < 1e-6
    assert time_trend(np.full(60, 0.7), times, users).p_value == 1


def test_scores_that_are_all_alike_are_no_division_by_zero() -> None:
    measured = measure(np.random.default_rng(5))
    found = shape_shift(np.full(30, 2.0), np.arange(30), measured)
    assert (found.observed, found.p_value < 0.01) == (1.0, True)


def alarms(log, draws, shift: float = 0.0):
    """The share of draws with an alarm at 5 %, with users and as if attempts were independent."""
    with_users, without = 0, 0
    for number in range(draws):
        generator = np.random.default_rng([number, *log])
        measured = measure(generator)
        scores, users = draw(generator, log[0], log[1:], shift)
        hits = scores > THRESHOLD
        rate = rate_shift(hits, users, measured, 0.0).p_value
        shape = shape_shift(scores[hits], users[hits], measured).p_value
        trend = time_trend(scores[hits], generator.random(hits.sum()), users[hits]).p_value
        with_users += min(rate, shape, trend) < 0.05 / 3
        without += shape_shift(scores[hits], np.arange(hits.sum()), measured).p_value < 0.05
    return with_users / draws, without / draws


@pytest.mark.slow
@pytest.mark.parametrize("log", [(60, 5, 40), (20, 5, 80), (300, 1, 10)], ids=["60 users", "20 users", "300 users"])
def test_an_alarm_without_a_cause_is_one_in_twenty(log: tuple[int, int, int]) -> None:
    with_users, without = alarms(log, draws=200)
    # 200 draws of 5 %: 1 to 9 % would be seen in 99 of 100 cases.
    assert 0.01 <= with_users <= 0.09
    assert without > with_users


@pytest.mark.slow
def test_another_camera_is_seen() -> None:
    assert alarms((60, 5, 40), draws=40, shift=-0.08)[0] > 0.95
