"""What changes from picture to picture of one generated person."""

from dataclasses import dataclass

import numpy as np

from facexfer.data.generated.people import Person


@dataclass(frozen=True)
class Capture:
    """One shot; both cameras see it at once.

    Attributes:
        yaw: Of the head in radians.
        pitch: Of the head in radians.
        roll: What alignment leaves of it, in radians.
        zoom: What alignment leaves of the size.
        shift: What alignment leaves of the place: (x, y) in pixels.
        smile: -0.5 (sad) to 1.
        mouth_open: In pixels.
        eyes_open: Factor of the eyes' height.
        brow_raise: In pixels.
        gaze: (x, y) in pixels.
        hair_drop: How much lower the hair hangs than usual, in pixels.
        glasses: Whether they are worn.
        background: Its reflectances.
        clothes: Their reflectances.
        light: Unit vector towards the visible light (x right, y down, z to the camera).
        ambient: Share of the light from everywhere.
        tint: Colour of the visible light, RGB.
        exposure: Of the visible picture.
        blur: Of the visible picture, in pixels.
        noise: Of the visible picture, in grey levels 0..1.
        lamp: Where the infrared lamp shines: (x, y) in pixels.
        lamp_power: Its strength.
        fall_off: How fast its light fades towards the border.
        nir_noise: Of the infrared picture, in grey levels 0..1.
        nir_blur: Of the infrared picture, in pixels.
        seed: For what is random in every pixel.
    """

    yaw: float
    pitch: float
    roll: float
    zoom: float
    shift: tuple[float, float]
    smile: float
    mouth_open: float
    eyes_open: float
    brow_raise: float
    gaze: tuple[float, float]
    hair_drop: float
    glasses: bool
    background: np.ndarray
    clothes: np.ndarray
    light: np.ndarray
    ambient: float
    tint: np.ndarray
    exposure: float
    blur: float
    noise: float
    lamp: tuple[float, float]
    lamp_power: float
    fall_off: float
    nir_noise: float
    nir_blur: float
    seed: int


def draw_capture(person: Person, generator: np.random.Generator) -> Capture:
    """Draw a shot of a person at random.

    Args:
        person: Of this person, whose habits count.
        generator: The same state gives the same shot.

    Returns:
        The shot.
    """
    uniform, normal = generator.uniform, generator.normal
    light = np.array([normal(0, 0.6), normal(-0.35, 0.35), uniform(0.5, 1.2)])
    warmth = uniform(-0.12, 0.12)
    return Capture(
        yaw=float(np.clip(normal(0, 0.2), -0.45, 0.45)),
        pitch=float(np.clip(normal(0, 0.1), -0.25, 0.25)),
        roll=normal(0, 0.03),
        zoom=1 + normal(0, 0.02),
        shift=(normal(0, 1.0), normal(0, 1.0)),
        smile=float(np.clip(normal(0.2, 0.45), -0.5, 1)),
        mouth_open=max(0.0, normal(-1.5, 3.0)),
        eyes_open=float(np.clip(normal(0.95, 0.2), 0.15, 1.25)),
        brow_raise=normal(0, 0.9),
        gaze=(normal(0, 0.7), normal(0, 0.3)),
        hair_drop=normal(0, 1.8),
        glasses=bool(uniform() < person.glasses),
        background=np.append(uniform(0.05, 0.9) * uniform(0.7, 1.0, 3), uniform(0.02, 0.25)),
        clothes=np.append(uniform(0.05, 0.9, 3), uniform(0.1, 0.7)),
        light=light / np.linalg.norm(light),
        ambient=uniform(0.25, 0.6),
        tint=np.array([1 + warmth, 1.0, 1 - warmth]),
        exposure=uniform(0.75, 1.15),
        blur=uniform(0.0, 0.9),
        noise=uniform(0.005, 0.025),
        lamp=(normal(0, 7), normal(60, 7)),
        lamp_power=uniform(0.8, 1.2),
        fall_off=uniform(0.6, 1.5),
        nir_noise=uniform(0.015, 0.045),
        nir_blur=uniform(0.6, 1.1),
        seed=int(generator.integers(2**32)),
    )
