"""Training augmentation of aligned crops, as named presets of albumentations."""

from collections.abc import Callable, Iterator

import albumentations as A
from albumentations.core.composition import TransformsSeqType

from facexfer.data.nir_simulation import SimulateNIR
from facexfer.registry import Registry, blaming

PRESETS: Registry[Callable[[], TransformsSeqType]] = Registry("augmentation", "augmentations")
"""Preset name -> what makes its transforms."""


@PRESETS.register("none")
def _none() -> TransformsSeqType:
    return [A.NoOp()]


@PRESETS.register("flip")
def _flip() -> TransformsSeqType:
    return [A.HorizontalFlip(p=0.5)]


@PRESETS.register("nir")
def _nir() -> TransformsSeqType:
    """Make what NIR cameras differ in: exposure, contrast, gamma, blur and sensor noise."""
    return [
        A.HorizontalFlip(p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
        A.RandomGamma(gamma_limit=(80, 120), p=0.3),
        A.GaussianBlur(blur_limit=(3, 5), sigma_limit=(0.2, 1.0), p=0.1),
        A.GaussNoise(std_range=(0.005, 0.02), p=0.2),
    ]


@PRESETS.register("nir-strong")
def _nir_strong() -> TransformsSeqType:
    """Make the same with more of everything, and a hidden patch: for sets of one camera that must serve on others."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(scale=(0.95, 1.05), translate_percent=(-0.02, 0.02), rotate=(-5, 5), p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.35, contrast_limit=0.35, p=0.7),
        A.RandomGamma(gamma_limit=(60, 160), p=0.5),
        A.GaussianBlur(blur_limit=(3, 5), sigma_limit=(0.2, 1.5), p=0.2),
        A.GaussNoise(std_range=(0.01, 0.05), per_channel=False, p=0.3),
        A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), p=0.2),
    ]


@PRESETS.register("nir-dark")
def _nir_dark() -> TransformsSeqType:
    """Make under-exposed images of an active light that is too far away: dark, flat, noisy, in few levels."""
    return [
        A.HorizontalFlip(p=0.5),
        A.RandomBrightnessContrast(brightness_limit=(-0.5, 0.0), contrast_limit=(-0.4, 0.1), p=0.6),
        A.GaussNoise(std_range=(0.01, 0.06), per_channel=False, p=0.5),
        A.Posterize(num_bits=(4, 7), p=0.2),
    ]


@PRESETS.register("vis-to-nir")
def _vis_to_nir() -> TransformsSeqType:
    """Make simulated NIR of every visible-light photo, for people who have no others; see `SimulateNIR`."""
    return [A.HorizontalFlip(p=0.5), SimulateNIR()]


@PRESETS.register("vis-and-nir")
def _vis_and_nir() -> TransformsSeqType:
    """Make simulated NIR of every other photo, so that a network learns both at once."""
    return [A.HorizontalFlip(p=0.5), SimulateNIR(p=0.5)]


def is_rendering(preset: str) -> bool:
    """Whether a preset shows pictures in another spectrum than they were taken in.

    Args:
        preset: One of `PRESETS`.

    Raises:
        InputError: If the preset is unknown.

    Example:
        >>> is_rendering("vis-and-nir"), is_rendering("nir")
        (True, False)
    """
    return any(isinstance(each, SimulateNIR) for each in _transforms(preset))


def training_transform(preset: str, seed: int) -> A.Compose:
    """Make the augmentation of a preset.

    Args:
        preset: One of `PRESETS`.
        seed: Of the augmentation.

    Returns:
        A composition that takes ``image=(H, W, 3) uint8 RGB``.

    Raises:
        InputError: If the preset is unknown.

    Example:
        >>> import numpy as np
        >>> training_transform("none", 0)(image=np.full((2, 2, 3), 7, np.uint8))["image"].sum()
        np.uint64(84)
    """
    return A.Compose(_transforms(preset), seed=seed, save_applied_params=True)


def moves_pixels(preset: str) -> bool:
    """Whether a preset turns, shifts or scales images, mirroring left aside.

    Raises:
        InputError: If the preset is unknown.

    Example:
        >>> moves_pixels("nir"), moves_pixels("nir-strong")
        (False, True)
    """
    harmless = (A.HorizontalFlip, A.NoOp, A.CoarseDropout)
    return any(
        isinstance(each, A.DualTransform) and not isinstance(each, harmless) for each in _flat(_transforms(preset))
    )


def _transforms(preset: str) -> TransformsSeqType:
    factory = PRESETS[preset]
    with blaming(factory, f"augmentation '{preset}'"):
        return factory()


def _flat(transforms: TransformsSeqType) -> Iterator[A.BasicTransform]:
    for each in transforms:
        if isinstance(each, A.BaseCompose):
            yield from _flat(each.transforms)
        else:
            yield each
