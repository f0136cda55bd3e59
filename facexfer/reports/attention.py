"""What the attention of SAM and CAM looks at, over a run's test images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from facexfer.errors import InputError
from facexfer.reports.image_grid import image_grid
from facexfer.reports.overlays import overlay
from facexfer.reports.run_images import choose_images, finished_recipe
from facexfer.reports.trained_attention import AttentionMaps, read_attention, untrained_attention
from facexfer.runs.folder import load_backbone


def attention_figures(run: Path, pictures: int = 4) -> tuple[dict[str, Figure], list[str]]:
    """Draw the attention of a run's stages.

    Args:
        run: A finished run of a method with learned attention.
        pictures: How many test images.

    Returns:
        ``spatial-attention`` (SAM) and ``channel-attention`` (CAM), as far as the run has them, and a line a module:
        its largest weight, and how alike its weights are to those that it gave before it was trained.

    Raises:
        InputError: If the run is not finished or has no attention.
    """
    shown = choose_images(finished_recipe(run), load_backbone(run), pictures)
    found = read_attention(run, shown)
    if not found:
        raise InputError(f"{run}: expected a run with learned attention, its method has none; show a run of afa")
    spatial = [maps for maps in found if maps.term == "spatial"]
    channel = [maps for maps in found if maps.term == "channel"]
    figures = {}
    if spatial:
        figures["spatial-attention"] = spatial_attention(shown, spatial)
    if channel:
        figures["channel-attention"] = channel_attention(channel)
    told = [_tell(before, after) for before, after in zip(untrained_attention(run, shown), found, strict=True)]
    return figures, told


def attention_alike(before: AttentionMaps, after: AttentionMaps) -> float:
    """Correlate a module's weights with those that it gave before training.

    Args:
        before: Of `untrained_attention`.
        after: The same module's of `read_attention`, for the same images.

    Returns:
        The mean over images of the correlation over positions or channels; NaN where all weights are equal.
    """
    flat = [maps.weights.reshape(len(maps.weights), -1) for maps in (before, after)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(*flat, strict=True)]))


def spatial_overlays(pictures: np.ndarray, attention: Sequence[AttentionMaps]) -> list[list[np.ndarray]]:
    """Overlay SAM's weights on images, on one scale: dark is zero, half bright the average, bright twice that or more.

    Args:
        pictures: (N, H, W, 3) uint8, RGB.
        attention: Spatial maps of these images, one per layer.

    Returns:
        For each image one (H, W, 3) a layer, so that attention to everything alike looks flat.
    """
    return [
        [overlay(picture, maps.relative[index], (0.0, 2.0)) for maps in attention]
        for index, picture in enumerate(pictures)
    ]


def _tell(before: AttentionMaps, after: AttentionMaps) -> str:
    return (
        f"{after.stage} {after.layer}: the largest of {after.weights[0].size} weights is {after.relative.max():.2f} "
        f"times the mean ({before.relative.max():.2f} before training); correlation with those before training "
        f"{attention_alike(before, after):.3f}"
    )


def spatial_attention(pictures: np.ndarray, attention: Sequence[AttentionMaps]) -> Figure:
    """Overlay SAM's weights on pictures: one row per image, one column per layer, bright where the weight is high.

    Args:
        pictures: (N, H, W, 3) uint8, RGB.
        attention: Spatial maps of these images, one per layer.

    Returns:
        The figure; a layer's title gives its largest weight as a multiple of the average.
    """
    titles = [f"{maps.layer}\nup to {maps.relative.max():.2f} x" for maps in attention]
    rows = [
        [picture, *overlays] for picture, overlays in zip(pictures, spatial_overlays(pictures, attention), strict=True)
    ]
    return image_grid(["picture", *titles], rows)


def channel_attention(attention: Sequence[AttentionMaps]) -> Figure:
    """Draw how unequally CAM weighs: the layers' channels by falling weight, the mean over images and their spread.

    Args:
        attention: Channel weights, one per layer.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(8.4, 2.4), layout="constrained")
    for axes, maps in zip(figure.subplots(1, len(attention), squeeze=False)[0], attention, strict=True):
        order = np.argsort(-maps.relative.mean(axis=0), kind="stable")
        mean, spread = maps.relative.mean(axis=0)[order], maps.relative.std(axis=0)[order]
        places = np.arange(len(mean))
        axes.bar(places, mean, width=1.0, color="#2f5d8a")
        axes.fill_between(places, mean - spread, mean + spread, color="#c8691c", alpha=0.35, linewidth=0)
        axes.axhline(1, color="#8a8a8a", linewidth=0.8, linestyle="--")
        axes.set_title(f"{maps.layer}\n{len(mean)} channels", fontsize=9)
        axes.set_xticks([])
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
