"""Find a face where the first look finds none: equalise, pad, enlarge. Every retry is recorded."""

from collections.abc import Callable

import cv2
import numpy as np

from facexfer.data.preparation.detect import Detector, Face

_PADDING = 0.5
_SMALL_SIDE = 320
# Detectors look at no more; it also bounds the memory that padding takes.
_LONG_SIDE = 640

# What a retry shows to the detector, and the matrix (2, 3) that takes its pixels back to the photo's.
View = tuple[np.ndarray, np.ndarray]


def find_faces(detector: Detector, image: np.ndarray) -> tuple[list[Face], str]:
    """Look for faces, and look again in other ways until one finds any.

    Args:
        detector: The detector.
        image: (H, W, 3) uint8 RGB.

    Returns:
        The faces in pixels of the image, and the name of the way that found them: "" for the first look, else
        ``equalised``, ``padded``, ``padded-equalised`` or ``enlarged`` (small photos only).
    """
    faces = detector.detect(image)
    if faces:
        return faces, ""
    small, to_photo = _shrunken(image)
    for name, view in _VIEWS.items():
        if name == "enlarged" and min(image.shape[:2]) >= _SMALL_SIDE:
            continue
        shown, back = view(small)
        faces = [_moved(_moved(face, back), to_photo) for face in detector.detect(shown)]
        if faces:
            return faces, name
    return [], ""


def equalise(image: np.ndarray) -> np.ndarray:
    """Spread the contrast of an image locally (CLAHE on the lightness), (H, W, 3) uint8 RGB."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(lab[:, :, 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def _shrunken(image: np.ndarray) -> View:
    height, width = image.shape[:2]
    scale = min(1.0, _LONG_SIDE / max(height, width))
    if scale == 1:
        return image, np.eye(2, 3)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small, np.array([[width / size[0], 0.0, 0.0], [0.0, height / size[1], 0.0]])


def _equalised(image: np.ndarray) -> View:
    return equalise(image), np.eye(2, 3)


def _padded(image: np.ndarray) -> View:
    # Faces that fill the picture: a detector wants some surroundings.
    border = round(_PADDING * max(image.shape[:2]))
    shown = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_CONSTANT, value=(127, 127, 127))
    return shown, np.array([[1.0, 0.0, -border], [0.0, 1.0, -border]])


def _padded_equalised(image: np.ndarray) -> View:
    return _padded(equalise(image))


def _enlarged(image: np.ndarray) -> View:
    shown, back = _padded_equalised(cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
    return shown, back / 2


_VIEWS: dict[str, Callable[[np.ndarray], View]] = {
    "equalised": _equalised,
    "padded": _padded,
    "padded-equalised": _padded_equalised,
    "enlarged": _enlarged,
}


def _moved(face: Face, back: np.ndarray) -> Face:
    corners = np.array(face.box).reshape(2, 2) @ back[:, :2].T + back[:, 2]
    (left, top), (right, bottom) = corners.tolist()
    return Face((left, top, right, bottom), face.landmarks @ back[:, :2].T + back[:, 2], face.score)
