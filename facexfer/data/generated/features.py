"""Eyes with their brows, nose and mouth."""

import numpy as np

from facexfer.data.generated.canvas import Canvas, ellipse, inside, line, texture
from facexfer.data.generated.captures import Capture
from facexfer.data.generated.geometry import bump
from facexfer.data.generated.people import Person

_SCLERA = np.array([0.70, 0.66, 0.64, 0.60])
_TEETH = np.array([0.86, 0.83, 0.76, 0.70])
_MOUTH = np.array([0.22, 0.06, 0.06, 0.20])
_PUPIL = np.array([0.02, 0.02, 0.02, 0.05])
_LIPS = np.array([0.80, 0.34, 0.40, 0.96])


def paint_eyes(canvas: Canvas, person: Person, capture: Capture, x: np.ndarray, y: np.ndarray) -> None:
    """Paint eyes that look where the capture says, lashes, lids and brows; ``x``, ``y``: (112, 112)."""
    side = np.abs(x)
    across = (side - person.eye_distance) / person.eye_width
    level = person.eye_height - person.eye_tilt * (side - person.eye_distance)
    arch = np.clip(1 - across**2, 0, 1)
    opening = person.eye_opening * capture.eyes_open
    upper = level - opening * arch**0.65
    lower = level + 0.75 * opening * arch
    within = inside(np.abs(across) * person.eye_width - person.eye_width, 0.6)
    eye = within * inside(upper - y, 0.6) * inside(y - lower, 0.6)
    fold = upper - 1.2 - 1.8 * person.lid
    canvas.stain(0.45 * person.lid * within * line(y - fold, 0.6), np.array([0.45, 0.4, 0.4, 0.6]))
    canvas.paint(eye, _SCLERA, 0.6)
    # Both eyes look the same way: the gaze is not mirrored.
    at = np.where(x < 0, -person.eye_distance, person.eye_distance) + capture.gaze[0]
    from_iris = np.hypot(x - at, y - (person.eye_height - 0.4 + capture.gaze[1]))
    canvas.paint(eye * inside(from_iris - person.iris_radius, 0.7), person.iris, 0.9)
    canvas.stain(eye * line(from_iris - person.iris_radius, 0.5), np.full(4, 0.5))
    canvas.paint(eye * inside(from_iris - 0.42 * person.iris_radius, 0.5), _PUPIL, 1.0)
    lashes = within * line(y - upper, 0.75) * (0.5 + 0.5 * np.clip(across + 0.6, 0, 1))
    canvas.paint(0.85 * lashes, 0.35 * np.minimum(person.hair, 0.3))
    canvas.stain(0.4 * within * line(y - lower, 0.5), np.array([0.5, 0.4, 0.4, 0.7]))
    reach = person.eye_width + 2.5
    along = (side - person.eye_distance) / reach
    middle = person.eye_height - person.brow_gap - capture.brow_raise - person.brow_arch * (1 - along**2)
    middle = middle + person.brow_slope * (side - person.eye_distance)
    thick = person.brow_thickness * np.clip(1.15 - 0.35 * along, 0.3, 1.5)
    brow = inside(np.abs(y - middle) - thick, 1.0) * inside(np.abs(along) * reach - reach, 1.5)
    canvas.paint(person.brow_density * brow * (0.75 + 0.25 * texture(person, 1, 1.0)), 0.8 * person.hair)


def paint_nose(canvas: Canvas, person: Person, x: np.ndarray, y: np.ndarray) -> None:
    """Paint nostrils and the shade around the wings; the nose itself is in the geometry."""
    side = np.abs(x)
    nostril = ellipse(side, y, 0.48 * person.nose_width, person.nose_tip + 3.4, 0.26 * person.nose_width, 1.1)
    canvas.stain(0.9 * nostril, np.array([0.22, 0.14, 0.13, 0.25]))
    wing = np.hypot((side - person.nose_width + 2.6) / 1.0, (y - person.nose_tip - 0.6) / 1.15) - 3.4
    canvas.stain(0.35 * line(wing, 0.8) * (side > person.nose_width - 2.5), np.array([0.6, 0.5, 0.5, 0.75]))
    beneath = inside(np.abs(y - person.nose_tip - 4.8) - 0.6, 1.2) * inside(side - 0.7 * person.nose_width, 2)
    canvas.stain(0.25 * beneath, np.array([0.6, 0.5, 0.5, 0.7]))


def paint_mouth(canvas: Canvas, person: Person, capture: Capture, x: np.ndarray, y: np.ndarray) -> None:
    """Paint lips, and teeth where the mouth is open."""
    width = person.mouth_width * (1 + 0.18 * capture.smile)
    across = x / width
    arch = np.clip(1 - across**2, 0, 1)
    seam = person.mouth_height - 3.2 * capture.smile * (across**2 - 0.35) - 0.35 * person.bow * np.cos(5 * across)
    stretch = 1 - 0.2 * max(0.0, capture.smile)
    gap = 0.5 * capture.mouth_open * arch
    notch = person.bow * bump(x, y, 0, 0, 2.2, 1e6)
    upper = seam - gap - stretch * person.upper_lip * arch**0.7 + notch
    lower = seam + gap + stretch * person.lower_lip * arch**0.8
    within = inside(np.abs(x) - width, 0.8)
    lips = within * inside(upper - y, 0.8) * inside(y - lower, 0.8)
    tone = person.skin * (1 + person.lip_red * (_LIPS - 1))
    canvas.paint(lips, tone, 0.5)
    hole = within * inside(seam - gap - y, 0.6) * inside(y - seam - gap, 0.6) * (capture.mouth_open > 0.3)
    canvas.paint(hole, _MOUTH)
    teeth = hole * inside(np.abs(x) - 0.75 * width) * inside(y - seam - 0.15 * gap, 0.6)
    canvas.paint(teeth * min(1.0, capture.mouth_open / 2), _TEETH, 0.5)
    canvas.stain(0.75 * within * line(y - seam, 0.55 + 0.3 * (np.abs(across) > 0.9)) * (1 - hole),
                 np.array([0.38, 0.25, 0.26, 0.5]))  # fmt: skip
