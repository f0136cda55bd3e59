"""A generated data set for trying the tools without any photos: people who do not exist, in VIS and in NIR."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from facexfer.data.generated.cameras import photograph_nir, photograph_vis
from facexfer.data.generated.captures import draw_capture
from facexfer.data.generated.drawing import draw_face
from facexfer.data.generated.geometry import make_geometry
from facexfer.data.generated.people import draw_person
from facexfer.data.manifest import FaceImage, write_manifest

_CAMERAS = {"vis": photograph_vis, "nir": photograph_nir}


def write_demo_set(
    folder: Path,
    train: int,
    val: int,
    images: int,
    seed: int,
    modalities: Sequence[str] = ("vis", "nir"),
    drawn: Callable[[], None] = lambda: None,
) -> Path:
    """Write pictures of generated people, and their manifest.

    A picture depends on the seed, the person's number and the shot's number alone: a larger set begins with the
    smaller one. Sets of different seeds share no people.

    Args:
        folder: Where to; it is made.
        train: Identities in the split ``train``.
        val: Identities in the split ``val``.
        images: Shots an identity; every shot is seen by both cameras.
        seed: The same seed gives the same files.
        modalities: ``vis``, ``nir`` or both.
        drawn: Called after every identity.

    Returns:
        The manifest's path.
    """
    rows = []
    for number in range(train + val):
        identity = f"g{number:04d}"
        split = "train" if number < train else "val"
        for shot, pictures in enumerate(draw_shots(seed, number, images, modalities)):
            for modality, picture in pictures.items():
                path = folder / modality / identity / f"{shot}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
                rows.append(FaceImage(path, identity, modality, split, capture=f"{identity}/{shot}"))
        drawn()
    write_manifest(folder / "images.csv", rows)
    return folder / "images.csv"


def draw_shots(
    seed: int, number: int, shots: int, modalities: Sequence[str] = ("vis", "nir")
) -> list[dict[str, np.ndarray]]:
    """Draw pictures of one generated person.

    Args:
        seed: Of the set.
        number: Of the person in it.
        shots: How many.
        modalities: ``vis``, ``nir`` or both.

    Returns:
        One mapping a shot: modality -> (112, 112, 3) uint8, RGB.

    Example:
        >>> shot = draw_shots(seed=0, number=0, shots=1)[0]
        >>> shot["vis"].shape, bool((shot["nir"][:, :, 0] == shot["nir"][:, :, 1]).all())
        ((112, 112, 3), True)
    """
    generator = np.random.default_rng([seed, number])
    person = draw_person(generator)
    pictures = []
    for _ in range(shots):
        capture = draw_capture(person, generator)
        geometry = make_geometry(person, capture)
        drawing = draw_face(person, capture, geometry)
        pictures.append({modality: _CAMERAS[modality](drawing, geometry, capture) for modality in modalities})
    return pictures
