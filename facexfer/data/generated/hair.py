"""Hair behind the face, in front of it, and on it."""

import numpy as np

from facexfer.data.generated.canvas import Canvas, inside, texture
from facexfer.data.generated.captures import Capture
from facexfer.data.generated.geometry import bump
from facexfer.data.generated.people import Person


def hair_behind(person: Person, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mask of the hair behind the face, (112, 112) 0..1."""
    if person.hair_style == "bald":
        return np.zeros_like(x)
    volume = person.hair_volume
    skull = inside(np.hypot(x / (person.face_width + volume), (y - 46) / (50 + volume)) * 40 - 40, 1.2)
    if person.hair_style != "long":
        return np.asarray(skull * inside(y - 62, 2))
    wave = 1.5 * person.curls * np.sin(y * 0.5)
    return np.asarray(
        np.maximum(skull * (y < 70), inside(np.abs(x) - person.face_width - volume - wave, 1.2) * (y > 46))
    )


def hair_in_front(person: Person, capture: Capture, x: np.ndarray, y: np.ndarray, strands: np.ndarray) -> np.ndarray:
    """The mask of the hair over the forehead and the temples, (112, 112) 0..1."""
    if person.hair_style == "bald":
        return np.zeros_like(x)
    across = x / person.face_width
    edge = person.hairline + capture.hair_drop + 9 * person.hair_part * across
    edge = edge + 44 * np.abs(across) ** 5
    if person.hair_style == "receding":
        edge = edge - 3 - 14 * bump(np.abs(across), y, 0.5, 0, 0.2, 1e6)
    if person.hair_style == "fringe":
        edge = np.maximum(edge, 27 + capture.hair_drop + 5 * person.hair_part * across + 3 * strands)
    if person.hair_style == "long":
        edge = edge + 40 * np.clip(np.abs(across) - 0.8, 0, 1) ** 1.1 * 4
    return np.asarray(inside(y - edge - (1 + 2 * person.curls) * strands, 1.4))


def paint_beard(
    canvas: Canvas, person: Person, x: np.ndarray, y: np.ndarray, face: np.ndarray, strands: np.ndarray
) -> None:
    """Paint the person's beard on the face, around the lips."""
    if person.beard == "none":
        return
    side, mouth = np.abs(x), person.mouth_height
    moustache = inside(np.abs(y - mouth + person.upper_lip + 2.2 - 0.08 * side) - 2.0, 1.2)
    moustache = moustache * inside(side - person.mouth_width - 1.5, 1.5)
    chin = inside(np.hypot(x / 11, (y - person.chin + 5) / 9) * 10 - 10, 1.5) * (y > mouth + person.lower_lip)
    cheeks = inside(mouth - 9 + 0.02 * (side - 30) ** 2 - y + 2 * strands, 3) * (
        1 - inside(np.hypot(x / (person.mouth_width + 2), (y - mouth) / (person.lower_lip + 4)) * 8 - 8, 1.2)
    )
    cover = {
        "stubble": 0.3 * np.maximum(cheeks, moustache),
        "moustache": 0.85 * moustache,
        "goatee": 0.8 * np.maximum(moustache, chin),
        "full": 0.85 * np.maximum(np.maximum(cheeks, chin), moustache),
    }[person.beard]
    lips = inside(np.hypot(x / person.mouth_width, (y - mouth) / (0.5 * person.lower_lip + 2)) * 6 - 6, 1.0)
    canvas.paint(cover * face * (1 - 0.9 * lips), person.hair * (0.85 + 0.4 * strands[:, :, None]), 0.1)


def hair_strands(person: Person, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Strands of hair, -1..1: stripes that fan out from the parting and wave where hair is curly."""
    fan = np.arctan2(x - 12 * person.hair_part, np.maximum(y + 45, 1))
    phase = 85 * fan + person.texture[0] + person.curls * 2.5 * np.sin(0.45 * y + 3 * fan)
    fine = np.sin(phase) * np.sin(0.37 * phase + 1.3)
    return np.asarray(0.6 * fine + 0.4 * texture(person, 2, 2))
