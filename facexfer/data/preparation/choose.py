"""Which of several faces is meant."""

from collections.abc import Callable

import numpy as np

from facexfer.data.pictures.photos import PhotoError
from facexfer.data.preparation.detect import Face
from facexfer.registry import Registry

CHOICES: Registry[Callable[[Face, tuple[int, int]], float]] = Registry("choice")
"""Choice name -> the value of a face in a photo of (height, width); the highest is taken."""


@CHOICES.register("largest-central")
def _largest_central(face: Face, frame: tuple[int, int]) -> float:
    # InsightFace's own rule: area less twice the squared distance from the centre, both in square pixels.
    return _area(face) - 2 * _offset(face, frame) ** 2


@CHOICES.register("largest")
def _largest(face: Face, frame: tuple[int, int]) -> float:
    return _area(face)


@CHOICES.register("central")
def _central(face: Face, frame: tuple[int, int]) -> float:
    return -_offset(face, frame)


@CHOICES.register("surest")
def _surest(face: Face, frame: tuple[int, int]) -> float:
    return face.score


@CHOICES.register("only")
def _only(face: Face, frame: tuple[int, int]) -> float:
    return 0.0


def choose_face(faces: list[Face], frame: tuple[int, int], choice: str = "largest-central") -> Face:
    """Choose one face.

    Args:
        faces: At least one.
        frame: (height, width) of the photo in pixels.
        choice: One of `CHOICES`; ``only`` refuses photos with several faces.

    Returns:
        The face.

    Raises:
        PhotoError: ``no-face``, or ``several-faces`` if only one was to be there.
    """
    if not faces:
        raise PhotoError("no-face", "the detector found none, with all retries")
    if choice == "only" and len(faces) > 1:
        raise PhotoError("several-faces", f"{len(faces)} faces")
    value = CHOICES[choice]
    return max(faces, key=lambda face: (value(face, frame), face.score))


def _area(face: Face) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)


def _offset(face: Face, frame: tuple[int, int]) -> float:
    left, top, right, bottom = face.box
    return float(np.hypot((left + right - frame[1]) / 2, (top + bottom - frame[0]) / 2))
