"""Augmentation of whole batches draws from the distributions that albumentations' presets draw from."""

import numpy as np
import pytest
import torch

from facexfer.data.augmentation import training_transform
from facexfer.data.device_augmentation import DEVICE_PRESETS, Draws, _blurred, affine, augment
from facexfer.errors import InputError

COUNT = 400


def picture(side: int = 48):
    """A face-like picture: a skin-coloured middle with detail on a dark, coloured ground."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    middle = np.exp(-8 * (x**2 + 1.5 * y**2))[:, :, None]
    image = middle * (200, 150, 120) + (1 - middle) * (30, 50, 60) + generator.normal(0, 12, (side, side, 3))
    return np.clip(image + 20 * np.sin(20 * x)[:, :, None], 0, 255).astype(np.uint8)


def statistics(images):
    """Brightness, contrast, fine detail, darkness and colour of each image."""
    images = images.astype(np.float64)
    grey = images.mean(axis=3)
    return np.stack(
        [
            grey.mean(axis=(1, 2)),
            grey.std(axis=(1, 2)),
            np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2)),
            (grey < 2).mean(axis=(1, 2)),
            np.ptp(images, axis=3).mean(axis=(1, 2)),
            # Left half against right half: mirrored or not.
            grey[:, :, : grey.shape[2] // 2].mean(axis=(1, 2)) - grey[:, :, grey.shape[2] // 2 :].mean(axis=(1, 2)),
        ],
        axis=1,
    )


@pytest.mark.slow
@pytest.mark.parametrize("preset", sorted(DEVICE_PRESETS))
def test_distributions_are_those_of_the_preset(preset: str) -> None:
    image = picture()
    transform = training_transform(preset, seed=1)
    theirs = statistics(np.stack([transform(image=image)["image"] for _ in range(COUNT)]))
    batch = torch.from_numpy(image).permute(2, 0, 1).expand(COUNT, -1, -1, -1)
    ours = statistics(augment(batch, preset, 0, 0).permute(0, 2, 3, 1).numpy())
    # Kolmogorov-Smirnov's distance of two samples of 400: 0.115 at 1 %, and 12 x 6 comparisons are made here.
    for column in range(theirs.shape[1]):
        one, other = np.sort(theirs[:, column].round(6)), np.sort(ours[:, column].round(6))
        values = np.union1d(one, other)
        # Rounding of single pixels moves a statistic by a little: a fiftieth of its range is let pass.
        slack = 0.02 * max(np.ptp(values), 1.0)
        above = np.searchsorted(one, values, side="right") - np.searchsorted(other, values + slack, side="right")
        below = np.searchsorted(other, values, side="right") - np.searchsorted(one, values + slack, side="right")
        assert max(above.max(), below.max()) / COUNT < 0.16, (preset, column)


def test_a_step_gives_the_same_batch_and_another_another() -> None:
    batch = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    for preset in DEVICE_PRESETS:
        first = augment(batch, preset, 3, 7)
        assert (first.dtype, first.shape) == (torch.uint8, batch.shape)
        assert torch.equal(first, augment(batch, preset, 3, 7))
    assert not torch.equal(augment(batch, "nir-strong", 3, 7), augment(batch, "nir-strong", 3, 8))
    assert not torch.equal(augment(batch, "nir-strong", 3, 7), augment(batch, "nir-strong", 4, 7))
    assert torch.equal(augment(batch, "none", 0, 0), batch)


def test_a_blur_keeps_sums_and_zero_leaves_all() -> None:
    images = torch.zeros(2, 1, 21, 21)
    images[:, :, 10, 10] = 1
    sigma = torch.tensor([0.0, 1.0]).view(-1, 1, 1, 1)
    blurred = _blurred(images, sigma, 5)
    assert torch.equal(blurred[0], images[0])
    assert blurred[1].sum().item() == pytest.approx(1, rel=1e-5)
    # The middle of a sampled Gaussian of one pixel: 0.3989 squared.
    assert blurred[1, 0, 10, 10].item() == pytest.approx(0.3989**2, rel=1e-3)
    narrow = _blurred(images, sigma, 5, torch.full((2, 1, 1, 1), 1.0))
    assert narrow[1, 0, 10, 12] == 0


def test_an_affine_change_of_nothing_is_nothing() -> None:
    images = torch.randint(0, 256, (2, 3, 20, 20)).float()
    assert torch.allclose(affine(0, 0, 0, p=1.0)(images, Draws(0, 0, 2, images.device)), images, atol=1)


def test_an_unknown_preset_is_an_error() -> None:
    with pytest.raises(InputError, match="unknown augmentation on the device 'nri'; did you mean 'nir'"):
        augment(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "nri", 0, 0)
