"""The shape of a generated face: where each pixel lies on the face, and how the surface is turned there."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from facexfer.data.generated.captures import Capture
from facexfer.data.generated.people import Person

SIDE = 112
MIDDLE = 56.0
_WIDEST = 58.0
_CROWN = -12.0
_DEPTH = 36.0
_ANCHOR = 27.0
"""Depth around which a head turns after alignment: that of eyes and mouth."""
_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of a shot lie on the face.

    Attributes:
        x: (112, 112) pixels from the face's middle, in the face's own coordinates (turned to the front).
        y: (112, 112) pixels downwards likewise, in the place of the aligned crop.
        outline: (112, 112) signed distance in pixels from the face's outline, negative inside.
        normals: (112, 112, 3) unit vectors out of the surface: x right, y down, z to the camera.
        hollow: (112, 112) how deep the place lies below its surroundings, in pixels; negative on bumps.
    """

    x: np.ndarray
    y: np.ndarray
    outline: np.ndarray
    normals: np.ndarray
    hollow: np.ndarray


def make_geometry(person: Person, capture: Capture) -> Geometry:
    """Turn a head and find where each pixel lies on it.

    Args:
        person: Whose face.
        capture: How it is turned.

    Returns:
        The geometry.
    """
    cos, sin = math.cos(capture.roll) / capture.zoom, math.sin(capture.roll) / capture.zoom
    columns = _COLUMNS - MIDDLE - capture.shift[0]
    rows = _ROWS - MIDDLE - capture.shift[1]
    across, down = cos * columns + sin * rows, cos * rows - sin * columns
    x, y = across, down + MIDDLE
    # Seen at (across, down) is the place whose rotation lands there; its depth is found by repetition.
    for _ in range(4):
        depth = _head(person, x, y) + _nose(person, x, y) - _ANCHOR
        x = (across - depth * math.sin(capture.yaw)) / math.cos(capture.yaw)
        y = (down - depth * math.sin(capture.pitch)) / math.cos(capture.pitch) + MIDDLE
    relief = _nose(person, x, y) + _features(person, capture, x, y)
    surface = _head(person, x, y) + relief
    towards = surface * math.cos(capture.yaw) - x * math.sin(capture.yaw) - (y - MIDDLE) * math.sin(capture.pitch)
    slope_y, slope_x = np.gradient(towards)
    limit = 3.0
    normals = np.stack([-np.clip(slope_x, -limit, limit), -np.clip(slope_y, -limit, limit), np.ones_like(x)], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return Geometry(x, y, _outline(person, x, y), normals, _hollow(relief))


def bump(x: np.ndarray, y: np.ndarray, at_x: float, at_y: float, wide: float, high: float) -> np.ndarray:
    """A Gaussian of height 1 around a place; ``wide`` and ``high`` are its standard deviations in pixels."""
    return np.asarray(np.exp(-0.5 * (((x - at_x) / wide) ** 2 + ((y - at_y) / high) ** 2)))


def _level(person: Person, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """0 in the middle of the face, 1 on its outline."""
    below = y > _WIDEST
    along = np.abs(y - _WIDEST)
    chin, crown = along / (person.chin - _WIDEST), along / (_WIDEST - _CROWN)
    return np.asarray(np.abs(x / person.face_width) ** 2.3 + np.where(below, chin**person.jaw, crown**2.6))


def _outline(person: Person, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    level = _level(person, x, y) - 1
    slope_y, slope_x = np.gradient(level)
    return np.asarray(level / np.maximum(np.hypot(slope_x, slope_y), 1e-3))


def _head(person: Person, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(_DEPTH * np.sqrt(np.clip(1 - _level(person, x, y), 0, 1) + 0.01))


def _nose(person: Person, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    root, tip = person.eye_height - 4, person.nose_tip
    along = np.clip((y - root) / (tip - root), 0, 1)
    below = np.exp(-0.5 * (np.maximum(y - tip, 0) / 2.2) ** 2)
    width = person.nose_bridge + 1.8 * along**3
    ridge = person.nose_height * along**1.25 * below * np.exp(-0.5 * (x / width) ** 2)
    wings = bump(np.abs(x), y, person.nose_width - 2, tip + 1, 2.4, 2.4)
    return np.asarray(ridge + 0.35 * person.nose_height * wings)


def _features(person: Person, capture: Capture, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Relief in pixels: sockets, brows, cheeks, folds, lips and chin."""
    side, smile = np.abs(x), max(0.0, capture.smile)
    mouth, eyes = person.mouth_height, person.eye_height
    relief = -5.0 * bump(side, y, person.eye_distance, eyes - 1, 8, 5.5)
    relief += 3.0 * bump(side, y, person.eye_distance, eyes, 5, 3.2)
    relief += 1.8 * bump(side, y, person.eye_distance, eyes - person.brow_gap, 9, 3)
    relief += (person.cheek + 2.5 * smile) * bump(side, y, 21, 71 - 2 * smile, 8, 8)
    # The fold from the nose's wing to the mouth's corner.
    along = np.clip((y - person.nose_tip) / (mouth - person.nose_tip), 0, 1.2)
    fold = person.nose_width + 2 + along * (person.mouth_width - person.nose_width + 2 + 2 * smile)
    present = np.exp(-0.5 * ((y - 0.5 * (person.nose_tip + mouth)) / 7) ** 2)
    relief -= (0.3 + 1.4 * person.age + 1.6 * smile) * present * np.exp(-0.5 * ((side - fold) / 1.7) ** 2)
    relief -= 1.3 * person.age * bump(side, y, person.eye_distance - 1, eyes + 8, 6, 1.3)
    relief -= 0.7 * person.age * (np.sin((y + 2) * 0.85) > 0.7) * bump(x, y, 0, 28, 22, 8)
    lips = 0.5 * (person.upper_lip + person.lower_lip)
    relief += 0.6 * lips * bump(x, y, 0, mouth - person.upper_lip / 2, person.mouth_width * 0.55, 1.8)
    relief += 0.8 * lips * bump(x, y, 0, mouth + person.lower_lip / 2, person.mouth_width * 0.5, 2.2)
    relief -= 1.2 * bump(x, y, 0, 0.5 * (person.nose_tip + mouth) + 1, 1.6, 4)
    relief -= 1.2 * bump(x, y, 0, mouth + person.lower_lip + 2.5, 8, 1.8)
    relief += 2.5 * bump(x, y, 0, person.chin - 8, 8, 5)
    return np.asarray(relief)


def _hollow(relief: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(relief, (0, 0), 4) - relief)
