"""A generated data set for trying the tools without any photos: coloured patterns in the place of people.

They are no faces, and a figure on them says nothing about faces. Every identity is a smooth random pattern; its NIR
rendering is grey, with the channels mixed, a fall-off of light towards the border, and noise.
"""

from pathlib import Path

import cv2
import numpy as np

from facexfer.data.manifest import FaceImage, write_manifest

_SIDE = 112
_CELLS = 7


def write_demo_set(folder: Path, train: int = 24, val: int = 12, images: int = 8, seed: int = 0) -> Path:
    """Write VIS and NIR renderings of generated identities, and their manifest.

    Args:
        folder: Where to; it is made.
        train: Identities in the split ``train``.
        val: Identities in the split ``val``.
        images: Captures an identity.
        seed: The same seed gives the same files.

    Returns:
        The manifest's path.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(train + val):
        identity = f"g{number:03d}"
        pattern = generator.integers(40, 216, (_CELLS, _CELLS, 3)).astype(np.float32)
        for capture in range(images):
            vis = _render(pattern, generator)
            for modality, image in (("vis", vis), ("nir", _to_nir(vis, generator))):
                path = folder / modality / identity / f"{capture}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), image)
                split = "train" if number < train else "val"
                rows.append(FaceImage(path, identity, modality, split, capture=f"{identity}/{capture}"))
    write_manifest(folder / "images.csv", rows)
    return folder / "images.csv"


def _render(pattern: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Vary a pattern as pose, light and expression would: shift, gain and changed cells."""
    varied = pattern * generator.uniform(0.8, 1.2) + generator.normal(0, 25, pattern.shape)
    image = cv2.resize(varied.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    shift = np.array([[1, 0, generator.uniform(-6, 6)], [0, 1, generator.uniform(-6, 6)]], dtype=np.float32)
    moved = cv2.warpAffine(image, shift, (_SIDE, _SIDE), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(np.clip(moved, 0, 255).astype(np.uint8))


def _to_nir(vis: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    mixed = vis.astype(np.float32) @ np.array([0.1, 0.2, 0.7], dtype=np.float32)
    axis = np.linspace(-1, 1, _SIDE, dtype=np.float32)
    falloff = 1 - 0.35 * (axis[:, None] ** 2 + axis[None, :] ** 2)
    noisy = mixed * falloff + generator.normal(0, 6, mixed.shape)
    return np.asarray(np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2))
