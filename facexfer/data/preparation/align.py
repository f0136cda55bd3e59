"""Bring a face into the crop networks were trained on: a similarity transform from five points, or two eyes."""

import cv2
import numpy as np

from facexfer.errors import InputError

# Where ArcFace training put the five points, in a crop of 112x112 (Deng et al., ArcFace, 2019; insightface face_align).
_ARCFACE_112 = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
# A crop of 112x96 is the middle of one of 112x112: 8 columns less on either side.
_TRIMMED_COLUMNS = {(112, 112): 0.0, (112, 96): 8.0}


def template(size: tuple[int, int] = (112, 112)) -> np.ndarray:
    """The positions of the five landmarks in a crop.

    Args:
        size: (height, width) of the crop in pixels, (112, 112) or (112, 96).

    Returns:
        (5, 2) float64, (x, y) in pixels: image-left eye, image-right eye, nose, image-left and image-right mouth
        corner.

    Raises:
        InputError: If it is any other size.

    Example:
        >>> template((112, 96))[0].round(4).tolist()
        [30.2946, 51.6963]
    """
    if size not in _TRIMMED_COLUMNS:
        known = " or ".join(f"{height}x{width}" for height, width in _TRIMMED_COLUMNS)
        raise InputError(f"expected crops of {known} (height x width), got {size[0]}x{size[1]}; choose one of them")
    return np.array(_ARCFACE_112) - (_TRIMMED_COLUMNS[size], 0.0)


def similarity(landmarks: np.ndarray, size: tuple[int, int] = (112, 112)) -> np.ndarray:
    """Fit the similarity transform that takes landmarks to the template.

    Least squares over rotation, scale and shift without reflection (Umeyama, PAMI 13, 1991), which for points in the
    plane is one complex division.

    Args:
        landmarks: (5, 2) points, or (2, 2) eye centres, image-left first; (x, y) in pixels.
        size: (height, width) of the crop in pixels.

    Returns:
        (2, 3) float64, for ``cv2.warpAffine``.

    Raises:
        InputError: If the landmarks are not of these shapes, or all in one place.

    Example:
        >>> similarity(template() * 2 + 10).round(3).tolist()
        [[0.5, -0.0, -5.0], [0.0, 0.5, -5.0]]
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape not in ((5, 2), (2, 2)):
        raise InputError(f"expected landmarks of shape (5, 2) or (2, 2), got {points.shape}; pick five points first")
    places = template(size)[: len(points)]
    moved, wanted = points - points.mean(axis=0), places - places.mean(axis=0)
    spread = float((moved**2).sum())
    if not spread > 0:
        raise InputError("expected landmarks in distinct places, all are in one; detect again")
    cosine = float((moved * wanted).sum()) / spread
    sine = float((moved[:, 0] * wanted[:, 1] - moved[:, 1] * wanted[:, 0]).sum()) / spread
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([rotation, places.mean(axis=0) - rotation @ points.mean(axis=0)])


def align(image: np.ndarray, landmarks: np.ndarray, size: tuple[int, int] = (112, 112)) -> np.ndarray:
    """Cut the aligned face out of a photo; equal to ``insightface.utils.face_align.norm_crop`` for 112x112.

    Args:
        image: (H, W, 3) uint8.
        landmarks: (5, 2) points or (2, 2) eye centres in pixels of the image.
        size: (height, width) of the crop in pixels.

    Returns:
        (height, width, 3) uint8; black where the photo ends.

    Raises:
        InputError: If the landmarks or the size are not those of `similarity`.
    """
    return warp(image, similarity(landmarks, size), size)


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int] = (112, 112)) -> np.ndarray:
    """Cut a crop (height, width, 3) uint8 out of a photo by the matrix of `similarity`; black where the photo ends."""
    return np.asarray(cv2.warpAffine(image, matrix, (size[1], size[0]), borderValue=0.0))
