"""The guard between landmarks and crops: what cannot be a face gets a name instead of a garbage crop."""

import math
from itertools import combinations

import cv2
import numpy as np

# The largest distance of a point from the photo, in eye distances: a face cut off by the border still aligns.
_MARGIN = 0.25
# Five points whose second spread is below this part of the first lie on a line; 0.03 is a head turned by about 88
# degrees.
_FLATNESS = 0.03
_SMOOTHING = 1.5

Points = list[tuple[float, float]]


def geometry_problem(landmarks: np.ndarray, frame: tuple[int, int], min_eye_distance: float) -> str | None:
    """Name what is wrong with landmarks.

    Args:
        landmarks: (5, 2) points or (2, 2) eye centres in pixels, in the manifest's order.
        frame: (height, width) of the photo in pixels.
        min_eye_distance: Eyes closer than this, in pixels, are a face too small. For points of a face in profile, the
            distance from the eyes to the mouth counts where it is larger.

    Returns:
        None, or one of ``landmarks-not-finite``, ``landmarks-coincident``, ``landmarks-collinear``,
        ``landmarks-mirrored``, ``landmarks-out-of-frame``, ``face-too-small``.

    Example:
        >>> geometry_problem(np.array([[30.0, 40], [30, 40]]), (112, 112), 8)
        'landmarks-coincident'
    """
    # Plain numbers: for five points they are faster than arrays.
    points: Points = [(float(x), float(y)) for x, y in landmarks]
    if not all(math.isfinite(value) for point in points for value in point):
        return "landmarks-not-finite"
    gaps = [math.dist(first, second) for first, second in combinations(points, 2)]
    if min(gaps) < 1e-3 * max(*gaps, 1.0):
        return "landmarks-coincident"
    if len(points) == 5 and (problem := _five_point_problem(points)):
        return problem
    if len(points) == 2 and points[0][0] >= points[1][0]:
        return "landmarks-mirrored"
    reach = _span(points)
    height, width = frame
    outside = max(max(-x, -y, x - width + 1, y - height + 1) for x, y in points)
    if outside > _MARGIN * reach:
        return "landmarks-out-of-frame"
    return "face-too-small" if reach < min_eye_distance else None


def face_span(landmarks: np.ndarray) -> float:
    """The eye distance in pixels, or for a turned head the eye-to-mouth distance where that is larger."""
    return _span([(float(x), float(y)) for x, y in landmarks])


def sharpness(crop: np.ndarray) -> float:
    """Measure how much fine detail an aligned crop has, whatever its contrast.

    The standard deviation of the Laplacian of the grey crop, smoothed by 1.5 pixels so that noise and rounding count
    little, over that of the grey values.

    Args:
        crop: (H, W, 3) uint8.

    Returns:
        A ratio for crops of 112x112: 0.04 to 0.14 on sharp faces (visible light, thermal infrared), about 0.02 after a
        Gaussian blur of 4 pixels, 0.01 after one of 8 pixels, which leaves nothing to recognise; 0 for a flat photo.

    Example:
        >>> sharpness(np.full((112, 112, 3), 90, np.uint8))
        0.0
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), _SMOOTHING)
    spread = float(grey.std())
    return float(cv2.Laplacian(smooth, cv2.CV_32F).std()) / spread if spread > 0 else 0.0


def _span(points: Points) -> float:
    span = math.dist(points[0], points[1])
    return span if len(points) == 2 else max(span, math.hypot(*_down(points)))


def _down(points: Points) -> tuple[float, float]:
    """The vector from the middle of the eyes to the middle of the mouth."""
    (left_x, left_y), (right_x, right_y), _, (low_x, low_y), (high_x, high_y) = points
    return (low_x + high_x - left_x - right_x) / 2, (low_y + high_y - left_y - right_y) / 2


def _five_point_problem(points: Points) -> str | None:
    if _flatness(points) < _FLATNESS:
        return "landmarks-collinear"
    eyes = points[1][0] - points[0][0], points[1][1] - points[0][1]
    mouth = points[4][0] - points[3][0], points[4][1] - points[3][1]
    down = _down(points)
    # With y down, the mouth lies clockwise of the line from the left eye to the right one; mirrored points turn that
    # over.
    turns = [side[0] * down[1] - side[1] * down[0] for side in (eyes, mouth)]
    return "landmarks-mirrored" if min(turns) < 0 and sum(turns) < 0 else None


def _flatness(points: Points) -> float:
    """The points' spread across their main direction, as a fraction of the spread along it."""
    middle_x, middle_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    moved = [(x - middle_x, y - middle_y) for x, y in points]
    xx, yy = sum(x * x for x, _ in moved), sum(y * y for _, y in moved)
    xy = sum(x * y for x, y in moved)
    # The eigenvalues of the symmetric matrix of second moments.
    mean, apart = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    return math.sqrt(max(0.0, mean - apart) / (mean + apart))
