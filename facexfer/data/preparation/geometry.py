"""The guard between landmarks and crops: what cannot be a face gets a name instead of a garbage crop."""

import cv2
import numpy as np

# The largest distance of a point from the picture, in eye distances: a face cut off by the border still aligns.
_MARGIN = 0.25
# Five points whose second spread is below this part of the first lie on a line; 0.03 is a head turned by about 88
# degrees.
_FLATNESS = 0.03
_SMOOTHING = 1.5
_PAIRS = {count: np.triu_indices(count, 1) for count in (2, 5)}


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
    points = np.asarray(landmarks, dtype=np.float64)
    if not np.isfinite(points).all():
        return "landmarks-not-finite"
    # As complex numbers: five points make ten gaps in one subtraction.
    plane = points[:, 0] + 1j * points[:, 1]
    gaps = np.abs((plane[:, None] - plane)[_PAIRS[len(points)]])
    if gaps.min() < 1e-3 * max(float(gaps.max()), 1.0):
        return "landmarks-coincident"
    if len(points) == 5 and (problem := _five_point_problem(points)):
        return problem
    if len(points) == 2 and points[0, 0] >= points[1, 0]:
        return "landmarks-mirrored"
    reach = face_span(points)
    outside = np.maximum(-points, points - (frame[1] - 1, frame[0] - 1)).max()
    if outside > _MARGIN * reach:
        return "landmarks-out-of-frame"
    return "face-too-small" if reach < min_eye_distance else None


def face_span(points: np.ndarray) -> float:
    """Give the eye distance in pixels, or for a turned head the eye-to-mouth distance where that is larger."""
    span = float(np.linalg.norm(points[1] - points[0]))
    if len(points) == 5:
        span = max(span, float(np.linalg.norm(points[3:].mean(axis=0) - points[:2].mean(axis=0))))
    return span


def sharpness(crop: np.ndarray) -> float:
    """Measure how much fine detail an aligned crop has, whatever its contrast.

    The standard deviation of the Laplacian of the grey crop, smoothed by 1.5 pixels so that noise and rounding count
    little, over that of the grey values.

    Args:
        crop: (H, W, 3) uint8.

    Returns:
        A ratio for crops of 112x112: 0.04 to 0.14 on sharp faces (visible light, thermal infrared), about 0.02 after a
        Gaussian blur of 4 pixels, 0.01 after one of 8 pixels, which leaves nothing to recognise; 0 for a flat picture.

    Example:
        >>> sharpness(np.full((112, 112, 3), 90, np.uint8))
        0.0
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), _SMOOTHING)
    spread = float(grey.std())
    return float(cv2.Laplacian(smooth, cv2.CV_32F).std()) / spread if spread > 0 else 0.0


def _five_point_problem(points: np.ndarray) -> str | None:
    spreads = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spreads[1] < _FLATNESS * spreads[0]:
        return "landmarks-collinear"
    eyes, mouth = points[1] - points[0], points[4] - points[3]
    down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    # With y down, the mouth lies clockwise of the line from the left eye to the right one; mirrored points turn that
    # over.
    turns = [side[0] * down[1] - side[1] * down[0] for side in (eyes, mouth)]
    return "landmarks-mirrored" if min(turns) < 0 and sum(turns) < 0 else None
