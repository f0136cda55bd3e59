"""Weights over positions, laid over the picture that they belong to."""

import cv2
import matplotlib as mpl
import numpy as np

_HEAT = 0.65


def overlay(picture: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Lay weights over a picture, bright where they are high; the scale is from their own least to their greatest.

    Args:
        picture: (H, W, 3) uint8, RGB.
        weights: (h, w), of any size.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    height, width = picture.shape[:2]
    relative = (weights - weights.min()) / max(float(np.ptp(weights)), 1e-12)
    large = cv2.resize(relative.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    heat = 255 * mpl.colormaps["inferno"](np.clip(large, 0, 1))[:, :, :3]
    return np.asarray((1 - _HEAT) * picture + _HEAT * heat).astype(np.uint8)
