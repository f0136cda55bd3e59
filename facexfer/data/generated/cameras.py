"""Two cameras: daylight in colour, and an infrared one with a lamp next to its lens."""

import cv2
import numpy as np

from facexfer.data.generated.captures import Capture
from facexfer.data.generated.drawing import Drawing
from facexfer.data.generated.geometry import SIDE, Geometry

_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
_GAMMA = 1 / 2.2


def photograph_vis(drawing: Drawing, geometry: Geometry, capture: Capture) -> np.ndarray:
    """Take the visible picture: light from one side and from everywhere.

    Args:
        drawing: The materials.
        geometry: The surface.
        capture: The light and the camera.

    Returns:
        (112, 112, 3) uint8, RGB.
    """
    generator = np.random.default_rng(capture.seed)
    facing = np.clip(geometry.normals @ capture.light.astype(np.float32), 0, None)
    light = capture.ambient * _occlusion(geometry) + (1 - capture.ambient) * 1.35 * facing
    half = capture.light + np.array([0.0, 0.0, 1.0])
    shine = np.clip(geometry.normals @ (half / np.linalg.norm(half)).astype(np.float32), 0, None) ** 24
    light = np.where(drawing.face > 0, 1 + drawing.face * (light - 1), 1.0)
    picture = drawing.reflectance[:, :, :3] * (capture.exposure * light)[:, :, None] * capture.tint
    picture = picture + (0.22 * drawing.gloss * drawing.face * shine * (1 - capture.ambient))[:, :, None]
    picture = picture + 0.07 * drawing.glass[:, :, None]
    return _develop(picture, capture.blur, capture.noise, generator)


def photograph_nir(drawing: Drawing, geometry: Geometry, capture: Capture) -> np.ndarray:
    """Take the infrared picture: the lamp shines from the camera and fades with distance.

    Light enters skin deeper in the near infrared, so its relief and detail are softer; what faces away is dark; wet
    eyes and lenses throw the lamp back.

    Args:
        drawing: The materials.
        geometry: The surface.
        capture: The lamp and the camera.

    Returns:
        (112, 112, 3) uint8: grey, three times the same.
    """
    generator = np.random.default_rng(capture.seed + 1)
    away_x, away_y = _COLUMNS - 56 - capture.lamp[0], _ROWS - capture.lamp[1]
    fading = 1 / (1 + capture.fall_off * (away_x**2 + away_y**2) / 56**2)
    direction = np.stack([-away_x / 220, -away_y / 220, np.ones_like(away_x)], axis=2)
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    facing = np.clip((geometry.normals * direction).sum(axis=2), 0, None)
    scattered = cv2.GaussianBlur(facing.astype(np.float32), (0, 0), 2.5)
    light = np.where(drawing.face > 0.5, 0.25 + 0.75 * scattered * _occlusion(geometry), 0.35)
    picture = drawing.reflectance[:, :, 3] * light * fading * 1.25 * capture.lamp_power
    picture = picture + 0.30 * drawing.gloss * drawing.face * facing**40 * fading
    # A lens is a weak mirror: each shows the lamp at its own place.
    across = np.abs(geometry.x) - 18 - capture.lamp[0] / 2
    glint = drawing.glass * np.exp(-0.5 * (across**2 + (geometry.y - capture.lamp[1] + 8) ** 2) / 3.0**2)
    picture = picture + 0.7 * glint
    grey = np.repeat(picture[:, :, None], 3, axis=2)
    return _develop(grey, capture.nir_blur, capture.nir_noise, generator, channels=1)


def _occlusion(geometry: Geometry) -> np.ndarray:
    """Less light reaches hollows."""
    return np.asarray(np.clip(1 - 0.16 * geometry.hollow, 0.35, 1.25))


def _develop(
    picture: np.ndarray, blur: float, noise: float, generator: np.random.Generator, channels: int = 3
) -> np.ndarray:
    """Blur by the lens, apply the tone curve, add the sensor's noise and round."""
    picture = picture.astype(np.float32)
    if blur > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    toned = np.clip(picture, 0, None) ** _GAMMA
    toned = toned + noise * generator.standard_normal((SIDE, SIDE, channels), dtype=np.float32)
    return np.asarray((np.clip(toned, 0, 1) * 255 + 0.5).astype(np.uint8))
