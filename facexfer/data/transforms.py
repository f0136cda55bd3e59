"""Training augmentation of aligned crops, as named presets of albumentations."""

from collections.abc import Callable

import albumentations as A
from albumentations.core.composition import TransformsSeqType

from facexfer.registry import Registry

PRESETS: Registry[Callable[[], TransformsSeqType]] = Registry("augmentation")
"""Preset name -> what makes its transforms."""


@PRESETS.register("none")
def _none() -> TransformsSeqType:
    return [A.NoOp()]


@PRESETS.register("flip")
def _flip() -> TransformsSeqType:
    return [A.HorizontalFlip(p=0.5)]


@PRESETS.register("nir")
def _nir() -> TransformsSeqType:
    """Make what NIR cameras differ in: exposure, contrast, active-light fall-off, blur and sensor noise."""
    return [
        A.HorizontalFlip(p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
        A.RandomGamma(gamma_limit=(80, 120), p=0.3),
        A.GaussianBlur(blur_limit=(3, 5), sigma_limit=(0.2, 1.0), p=0.1),
        A.GaussNoise(std_range=(0.005, 0.02), p=0.2),
    ]


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
    return A.Compose(PRESETS[preset](), seed=seed)
