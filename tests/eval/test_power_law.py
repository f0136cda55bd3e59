"""The power law finds what made the numbers, its interval holds it, and its gains are those of its own curve."""

import math

import numpy as np
import pytest

from facexfer.errors import InputError
from facexfer.eval.power_law import PowerLaw, bootstrap_laws, fit_power_law

PEOPLE = np.array([30.0, 60, 120, 240, 240, 240, 30, 60, 120])
IMAGES = np.array([10.0, 10, 10, 10, 5, 2, 10, 10, 10])
TRUE = PowerLaw(0.05, 0.9, 0.5, 0.3)


def errors_of(law: PowerLaw, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    exact = np.array([law.error(*size) for size in zip(PEOPLE, IMAGES, strict=True)])
    return exact + noise * np.random.default_rng(seed).standard_normal(len(exact))


def test_exact_errors_give_the_law_back() -> None:
    found = fit_power_law(PEOPLE, IMAGES, errors_of(TRUE))
    for people, images in ((240, 10), (1000, 10), (240, 40)):
        assert found.error(people, images) == pytest.approx(TRUE.error(people, images), abs=1e-4)


def test_images_that_do_not_vary_have_no_effect() -> None:
    some = IMAGES == 10
    found = fit_power_law(PEOPLE[some], IMAGES[some], errors_of(TRUE)[some])
    assert found.by_images == 0
    assert found.gain_of_images(240, 10) == 0
    assert found.error(480, 10) == pytest.approx(TRUE.error(480, 10), abs=1e-3)


def test_gains_are_differences_of_the_curve() -> None:
    assert TRUE.gain_of_people(100, 6) == pytest.approx(TRUE.error(100, 6) - TRUE.error(200, 6))
    assert TRUE.gain_of_images(100, 6) == pytest.approx(TRUE.error(100, 6) - TRUE.error(100, 12))


def test_where_more_does_not_pay_doubling_gains_exactly_that() -> None:
    people = TRUE.people_until(0.005, 10)
    assert TRUE.gain_of_people(people, 10) == pytest.approx(0.005)
    assert PowerLaw(0.1, 0.001, 1.0, 0).people_until(0.005, 10) == 1
    assert PowerLaw(0, 0.9, 0.01, 0).people_until(1e-9, 10) == math.inf


def test_the_interval_of_a_prediction_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(10):
        laws = bootstrap_laws(PEOPLE, IMAGES, errors_of(TRUE, 0.004, seed), 30, seed)
        low, high = np.quantile([law.error(480, 10) for law in laws], (0.025, 0.975))
        held += low <= TRUE.error(480, 10) <= high
    assert held >= 7


def test_too_few_sizes_and_too_few_runs_are_errors() -> None:
    with pytest.raises(InputError, match="at least 3 different numbers of people, got 2"):
        fit_power_law(np.array([10, 20, 20]), np.array([5, 5, 5]), np.array([0.3, 0.2, 0.2]))
    with pytest.raises(InputError, match="more than 3 finished runs .* got 3; add draws"):
        bootstrap_laws(np.array([10, 20, 40]), np.array([5, 5, 5]), np.array([0.3, 0.2, 0.1]), 5, 0)
