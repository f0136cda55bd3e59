"""A generated face as materials: what every pixel reflects in red, green, blue and near infrared, before any light."""

from dataclasses import dataclass

import numpy as np

from facexfer.data.generated.canvas import Canvas, ellipse, inside, line, texture
from facexfer.data.generated.captures import Capture
from facexfer.data.generated.features import paint_eyes, paint_mouth, paint_nose
from facexfer.data.generated.geometry import Geometry, bump
from facexfer.data.generated.hair import hair_behind, hair_in_front, hair_strands, paint_beard
from facexfer.data.generated.people import Person

# Blood absorbs green and blue, and next to nothing at 850 nm.
_BLOOD = np.array([0.92, 0.62, 0.66, 0.99])


@dataclass(frozen=True)
class Drawing:
    """The materials of a shot.

    Attributes:
        reflectance: (112, 112, 4): red, green, blue, near infrared, 0..1.
        face: (112, 112) 1 on what belongs to the head, 0 behind it.
        gloss: (112, 112) how much a place shines, 0..1.
        glass: (112, 112) 1 where a lens is.
    """

    reflectance: np.ndarray
    face: np.ndarray
    gloss: np.ndarray
    glass: np.ndarray


def draw_face(person: Person, capture: Capture, geometry: Geometry) -> Drawing:
    """Paint a shot's materials.

    Args:
        person: Who.
        capture: How.
        geometry: Where each pixel lies on the face.

    Returns:
        The drawing.
    """
    x, y = geometry.x, geometry.y
    shade = (1 + 0.25 * texture(person, 3, 24)[:, :, None]) * capture.background
    canvas = Canvas(shade.astype(np.float32))
    strands = hair_strands(person, x, y)
    hair = person.hair * (1 + 0.45 * strands[:, :, None])
    behind = hair_behind(person, x, y)
    canvas.paint(behind, 0.75 * hair, 0.2)
    neck = inside(np.abs(x) - 0.72 * person.face_width) * inside(92 - y, 3)
    canvas.paint(neck, 0.62 * person.skin)
    canvas.paint(inside(person.chin + 4 + 0.012 * x**2 - y, 1.5), capture.clothes)
    ears = ellipse(np.abs(x), y, person.face_width + person.ears - 4, 60, 5, 9)
    canvas.paint(ears * (person.ears > 0), 0.85 * person.skin, 0.1)
    face = inside(geometry.outline, 1.0)
    canvas.paint(face, _skin(person, x, y), 0.35)
    paint_mouth(canvas, person, capture, x, y)
    paint_nose(canvas, person, x, y)
    paint_beard(canvas, person, x, y, face, strands)
    paint_eyes(canvas, person, capture, x, y)
    front = hair_in_front(person, capture, x, y, strands)
    canvas.paint(front * np.maximum(face, behind), hair, 0.25)
    glass = np.zeros_like(face)
    if capture.glasses:
        glass = _paint_glasses(canvas, person, x, y)
    head = np.clip(face + neck + ears + behind, 0, 1)
    return Drawing(np.clip(canvas.reflectance, 0.01, 0.98), head, canvas.gloss, glass)


def _skin(person: Person, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    side = np.abs(x)
    canvas = Canvas(np.broadcast_to(person.skin.astype(np.float32), (*x.shape, 4)).copy())
    flush = bump(side, y, 22, 72, 9, 8) + 0.8 * bump(x, y, 0, person.nose_tip, 6, 5)
    canvas.stain(person.redness * np.clip(flush + 0.4 * texture(person, 4, 9), 0, 1.5), _BLOOD)
    spots = np.clip(1.6 * texture(person, 1, 0.9) - 1.5, 0, 1) * (bump(side, y, 14, 66, 15, 9) > 0.3)
    # Melanin again: spots are plain in blue and all but gone in the near infrared.
    canvas.stain(person.freckles * spots, np.array([0.72, 0.55, 0.45, 0.93]))
    canvas.stain(0.5 * (0.4 + person.age) * bump(side, y, person.eye_distance - 2, person.eye_height + 6, 5, 2.2),
                 np.array([0.75, 0.66, 0.72, 0.92]))  # fmt: skip
    for at_x, at_y, radius, darkness in person.moles:
        cover = darkness * inside(np.hypot(x - at_x, y - at_y) - radius)
        canvas.stain(cover, np.array([0.30, 0.20, 0.15, 0.75]))
    return canvas.reflectance


def _paint_glasses(canvas: Canvas, person: Person, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    width, height, roundness, thickness = person.frame
    side = np.abs(x)
    centre = person.eye_distance + 0.8
    out_x = np.abs(side - centre) - (width - roundness)
    out_y = np.abs(y - person.eye_height - 1.5) - (height - roundness)
    rim = np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0)) + np.minimum(np.maximum(out_x, out_y), 0) - roundness
    bridge = line(y - person.eye_height + 1.5 + 0.05 * x**2, thickness) * (side < centre - width + 1)
    temples = (
        line(y - person.eye_height + 1.5, thickness) * (side > centre + width - 1) * (side < person.face_width + 3)
    )
    frame = np.maximum(line(rim, thickness), np.maximum(bridge, temples))
    canvas.stain(0.35 * bump(side, y, centre, person.eye_height + height + 3, width, 1.5), np.full(4, 0.75))
    canvas.paint(frame, person.frame_colour, 0.6)
    return inside(rim + thickness)
