"""Weights over positions, laid over the image that they belong to."""

import cv2
import matplotlib as mpl
import numpy as np

_HEAT = 0.65


def overlay(picture: np.ndarray, weights: np.ndarray, scale: tuple[float, float] | None = None) -> np.ndarray:
    """Overlay weights on an image, bright where they are high.

    Args:
        picture: (H, W, 3) uint8, RGB.
        weights: (h, w), of any size.
        scale: The darkest and the brightest weight; left out, the least and the greatest.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    height, width = picture.shape[:2]
    low, high = scale or (float(weights.min()), float(weights.max()))
    relative = (weights - low) / max(high - low, 1e-12)
    large = cv2.resize(relative.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    heat = 255 * mpl.colormaps["inferno"](np.clip(large, 0, 1))[:, :, :3]
    return np.asarray((1 - _HEAT) * picture + _HEAT * heat).astype(np.uint8)
