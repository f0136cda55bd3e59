"""Augmentation presets of your own: simulated NIR of half and of twice the usual strength.

Name the file in a recipe, or with --set ``plugins=["simulation_strength.py"]``, and then
``pool.augmentation=vis-to-nir-half``.
"""

import albumentations as A

from facexfer.data.augmentation import PRESETS
from facexfer.data.nir_simulation import SimulateNIR


@PRESETS.register("vis-to-nir-half")
def half() -> list[A.BasicTransform]:
    """Simulate NIR with half of every effect."""
    return [A.HorizontalFlip(p=0.5), SimulateNIR.of_strength(0.5)]


@PRESETS.register("vis-to-nir-double")
def double() -> list[A.BasicTransform]:
    """Simulate NIR with twice every effect."""
    return [A.HorizontalFlip(p=0.5), SimulateNIR.of_strength(2.0)]
