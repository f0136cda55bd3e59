"""Pictures of a run: what its attention looks at, and faces."""

from collections.abc import Sequence

import cv2
import numpy as np

from facexfer.eval.report.plots import to_svg
from facexfer.reports.attention import channel_attention, spatial_overlays
from facexfer.reports.trained_attention import AttentionMaps

_GAP = 4


def draw_spatial_attention(crops: np.ndarray, attention: Sequence[AttentionMaps]) -> bytes:
    """Overlay spatial attention on crops: one row per crop, next to it one picture per layer, all on one scale.

    Args:
        crops: (N, H, W, 3) uint8, RGB.
        attention: Spatial maps of these crops, one per layer.

    Returns:
        A PNG.
    """
    rows = [
        _joined([crop, *overlays], axis=1)
        for crop, overlays in zip(crops, spatial_overlays(crops, attention), strict=True)
    ]
    return to_png(_joined(rows, axis=0))


def draw_channel_attention(attention: Sequence[AttentionMaps]) -> str:
    """Draw how unequally channel attention weighs: the layers' channels by falling weight, the mean over images.

    Args:
        attention: Channel weights, one per layer.

    Returns:
        SVG text.
    """
    return to_svg(channel_attention(attention))


def draw_sheet(rows: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Arrange pictures of one size in rows.

    Args:
        rows: Pictures (H, W, 3) uint8, RGB.

    Returns:
        A PNG.
    """
    return to_png(_joined([_joined(list(row), axis=1) for row in rows], axis=0))


def to_png(image: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 RGB as a PNG."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


def _joined(tiles: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Put tiles next to (1) or below (0) each other with white between them."""
    shape = list(tiles[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    parts = [part for tile in tiles for part in (tile, gap)][:-1]
    return np.concatenate(parts, axis=axis)
