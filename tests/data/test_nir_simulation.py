"""Each step of the NIR simulation by its physical reading, and the presets that suit NIR."""

from typing import Any

import albumentations as A
import numpy as np
import pytest
from photo_files import picture

from facexfer.data.augmentation import PRESETS, training_transform
from facexfer.data.nir_simulation import (
    SimulateNIR,
    add_sensor_noise,
    fall_off,
    lift_skin,
    mix_spectrum,
    quantise,
    skin_likelihood,
)
from facexfer.errors import InputError

PHOTO = np.asarray(picture(size=(112, 112)))
HALF = np.full((112, 112), 0.5, np.float32)


def simulated(seed: int, image: np.ndarray = PHOTO, **options: Any) -> np.ndarray:
    return A.Compose([SimulateNIR(**options)], seed=seed)(image=image)["image"]


def test_the_result_is_grey_bytes_and_the_same_for_the_same_seed() -> None:
    first = simulated(0)
    assert first.dtype == np.uint8
    assert first.shape == PHOTO.shape
    assert (first == first[:, :, :1]).all()
    np.testing.assert_array_equal(first, simulated(0))
    assert (first != simulated(1)).mean() > 0.5


def test_red_tells_more_than_blue() -> None:
    red, blue = (np.zeros((4, 4, 3), np.float32) for _ in "rb")
    red[..., 0] = blue[..., 2] = 1
    assert mix_spectrum(red, (0.7, 0.2, 0.1)).mean() > 6 * mix_spectrum(blue, (0.7, 0.2, 0.1)).mean()


def test_skin_of_every_tone_is_lifted_and_grey_is_not_skin() -> None:
    tones = np.array([[[241, 194, 163], [198, 134, 100], [110, 70, 52]]], np.uint8).repeat(9, axis=0).repeat(9, axis=1)
    assert skin_likelihood(tones).min() > 0.2
    assert skin_likelihood(np.full((20, 20, 3), 120, np.uint8)).max() == 0
    assert lift_skin(HALF, np.ones_like(HALF), 0.8, 0).mean() == pytest.approx(0.7)
    np.testing.assert_array_equal(lift_skin(HALF, np.zeros_like(HALF), 0.8, 2), HALF)


def test_skin_detail_is_softened_and_the_rest_is_not() -> None:
    detail = (np.indices((40, 40)).sum(axis=0) % 2).astype(np.float32)
    skin = np.zeros_like(detail)
    skin[:, :20] = 1
    soft = lift_skin(detail, skin, 0, 1.5)
    assert soft[:, 4:16].std() < 0.05
    np.testing.assert_array_equal(soft[:, 20:], detail[:, 20:])


def test_light_falls_off_from_its_centre() -> None:
    lit = fall_off(HALF, (0.5, 0.5), 0.5)
    assert lit[56, 56] == pytest.approx(0.5, rel=1e-3)
    # Half a picture away, half of the light is lost.
    assert lit[56, 111] == pytest.approx(0.25, rel=0.02)
    np.testing.assert_array_equal(fall_off(HALF, (0.5, 0.5), 0), HALF)


def test_noise_is_that_of_counted_electrons() -> None:
    generator = np.random.default_rng(0)
    many = add_sensor_noise(HALF, 10, 20, generator)
    # 400 electrons expected: variance 400 of counting, 400 of reading, over 800 for white.
    assert many.std() == pytest.approx(np.sqrt(800) / 800, rel=0.05)
    assert many.mean() == pytest.approx(0.5, abs=2e-3)
    assert add_sensor_noise(HALF, 1, 0, generator).std() < many.std() / 4


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_levels_are_counted(bits: int) -> None:
    ramp = np.linspace(0, 1, 5000).reshape(50, 100) ** 2.2
    assert len(np.unique(quantise(ramp, bits))) == 2**bits


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_keeps_form_and_seed(preset: str) -> None:
    first, second = (training_transform(preset, 3)(image=PHOTO)["image"] for _ in "ab")
    assert first.shape == PHOTO.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("preset", ["nir-strong", "nir-dark", "vis-to-nir"])
def test_grey_stays_grey(preset: str) -> None:
    transform = training_transform(preset, 0)
    for _ in range(20):
        shown = transform(image=np.full((112, 112, 3), 120, np.uint8))["image"]
        assert np.ptp(shown, axis=2).max() == 0


def test_strength_0_leaves_a_grey_photo_as_it_is() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2).repeat(64, axis=1)
    nothing = A.Compose([SimulateNIR.of_strength(0)], seed=0)
    np.testing.assert_array_equal(nothing(image=ramp)["image"], ramp)
    assert SimulateNIR.of_strength(1).gain_range == SimulateNIR().gain_range


@pytest.mark.parametrize("factor", [-1, float("nan"), float("inf")])
def test_a_strength_is_a_finite_number_from_0_up(factor: float) -> None:
    with pytest.raises(InputError, match="expected a strength of the NIR simulation from 0 up, got"):
        SimulateNIR.of_strength(factor)
