"""Pictures of a run: its losses, and what its attention looks at."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from facexfer.eval.figures import make_axes, to_svg
from facexfer.runs import RunFolder
from facexfer.trained_attention import AttentionMaps

_GAP = 4


def draw_losses(runs: Mapping[str, Path]) -> str:
    """Draw the parts of the objective over the steps of some runs.

    Args:
        runs: Run folders by the name that the legend gives them.

    Returns:
        SVG text.
    """
    figure, axes = make_axes("step", "loss")
    for name, run in runs.items():
        lines = RunFolder(run).metrics_file.read_text(encoding="utf-8").splitlines()
        records = [record for record in map(json.loads, lines) if "losses" in record]
        for part in dict.fromkeys(part for record in records for part in record["losses"]):
            points = [(record["step"], record["losses"][part]) for record in records if part in record["losses"]]
            axes.plot(*zip(*points, strict=True), linewidth=1.4, label=f"{name}: {part}")
    axes.set_yscale("log")
    axes.legend(frameon=False)
    return to_svg(figure)


def draw_spatial_attention(crops: np.ndarray, attention: Sequence[AttentionMaps]) -> bytes:
    """Lay spatial attention over crops: a row a crop, beside it one picture a layer, bright where the weight is high.

    Args:
        crops: (N, H, W, 3) uint8, RGB.
        attention: Spatial maps of these crops, one a layer.

    Returns:
        A PNG.
    """
    colours = mpl.colormaps["inferno"]
    height, width = crops.shape[1:3]
    rows = []
    for index, crop in enumerate(crops):
        tiles = [crop]
        for maps in attention:
            weights = maps.weights[index]
            relative = (weights - weights.min()) / max(float(np.ptp(weights)), 1e-12)
            large = cv2.resize(relative.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
            heat = 255 * colours(np.clip(large, 0, 1))[:, :, :3]
            tiles.append((0.35 * crop + 0.65 * heat).astype(np.uint8))
        rows.append(_joined(tiles, axis=1))
    return to_png(_joined(rows, axis=0))


def draw_channel_attention(attention: Sequence[AttentionMaps]) -> str:
    """Draw how unequally channel attention weighs: the layers' channels by falling weight, the mean over images.

    Args:
        attention: Channel weights, one a layer.

    Returns:
        SVG text.
    """
    figure = Figure(figsize=(8.4, 2.4), layout="constrained")
    for axes, maps in zip(figure.subplots(1, len(attention), squeeze=False)[0], attention, strict=True):
        order = np.argsort(-maps.relative.mean(axis=0), kind="stable")
        mean, spread = maps.relative.mean(axis=0)[order], maps.relative.std(axis=0)[order]
        places = np.arange(len(mean))
        axes.bar(places, mean, width=1.0, color="#2f5d8a")
        axes.fill_between(places, mean - spread, mean + spread, color="#c8691c", alpha=0.35, linewidth=0)
        axes.axhline(1, color="#8a8a8a", linewidth=0.8, linestyle="--")
        axes.set_title(f"{maps.layer}, {len(mean)} channels", fontsize=9)
        axes.set_xticks([])
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return to_svg(figure)


def draw_sheet(rows: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Lay pictures of one size out in rows.

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
    """Put tiles beside (1) or below (0) each other with white between them."""
    shape = list(tiles[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    parts = [part for tile in tiles for part in (tile, gap)][:-1]
    return np.concatenate(parts, axis=axis)
