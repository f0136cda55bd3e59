"""Painting in layers, and the soft shapes that are painted."""

from functools import cache

import cv2
import numpy as np

from facexfer.data.generated.people import Person


class Canvas:
    """Layers painted over each other."""

    def __init__(self, reflectance: np.ndarray) -> None:
        self.reflectance = reflectance
        self.gloss = np.zeros(reflectance.shape[:2], np.float32)

    def paint(self, cover: np.ndarray, colour: np.ndarray, gloss: float = 0.0) -> None:
        """Cover by 0..1 with a colour (4,) or (112, 112, 4)."""
        weight = cover[:, :, None].astype(np.float32)
        self.reflectance += weight * (colour.astype(np.float32) - self.reflectance)
        self.gloss += cover.astype(np.float32) * (gloss - self.gloss)

    def stain(self, cover: np.ndarray, factor: np.ndarray) -> None:
        """Multiply by a factor (4,) where the cover is 1, and less where it is less."""
        self.reflectance *= 1 + cover[:, :, None].astype(np.float32) * (factor.astype(np.float32) - 1)


def inside(distance: np.ndarray, softness: float = 0.8) -> np.ndarray:
    """1 where a signed distance in pixels is negative, 0 where it is positive, with a soft edge."""
    return np.asarray(np.clip(0.5 - distance / (2 * softness), 0, 1))


def line(distance: np.ndarray, half_width: float | np.ndarray) -> np.ndarray:
    """1 within ``half_width`` pixels of where a distance is 0, with a soft edge."""
    return np.asarray(np.clip(half_width + 0.5 - np.abs(distance), 0, 1))


def ellipse(x: np.ndarray, y: np.ndarray, at_x: float, at_y: float, wide: float, high: float) -> np.ndarray:
    """1 inside an ellipse around a place, ``wide`` and ``high`` pixels large (half axes)."""
    distance = (np.hypot((x - at_x) / wide, (y - at_y) / high) - 1) * min(wide, high)
    return inside(distance)


def texture(person: Person, place: int, scale: float) -> np.ndarray:
    """A patch of smooth noise, standard deviation 1, that is this person's."""
    row, column = (person.texture[0] + 37 * place) % 400, (person.texture[1] + 91 * place) % 400
    return _noise(scale)[row : row + 112, column : column + 112]


@cache
def _noise(scale: float) -> np.ndarray:
    noise = np.random.default_rng(7).normal(size=(512, 512)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), scale, borderType=cv2.BORDER_REFLECT)
    return np.asarray(smooth / smooth.std())
