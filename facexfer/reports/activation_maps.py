"""Figure 2: what one channel answers to, before the transfer and after it by several methods."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.engine.source import make_source
from facexfer.errors import InputError
from facexfer.reports.image_grid import image_grid
from facexfer.reports.overlays import overlay
from facexfer.reports.run_images import choose_images, finished_recipe
from facexfer.runs.folder import load_backbone
from facexfer.transfer.taps import FeatureTap


def activation_maps(runs: Mapping[str, Path], channel: int, layer: str | None = None, pictures: int = 4) -> Figure:
    """Overlay one channel's map on test pictures: one row per image; the source and each run in a column.

    The paper shows the block conv5_2 of ResNet-101, in torchvision's words ``trunk.layer4.1``. Bright is the map's
    highest value on that image, dark its lowest: the maps' places are compared, not their heights.

    Args:
        runs: Finished runs from one source network, by the name over their column.
        channel: Which channel, from 0.
        layer: The layer's name; None takes the last one that the network's methods tap.
        pictures: How many, from the first run's test images.

    Returns:
        The figure.

    Raises:
        InputError: If a run is not finished, the layer or channel not there, or the networks are different ones.
    """
    first, *_ = runs.values()
    recipe = finished_recipe(first)
    source = make_source(recipe.source)
    layer = layer or source.info.taps[-1].layer
    shown = choose_images(recipe, source, pictures)
    networks: dict[str, BackboneModule] = {"source": source}
    for name, run in runs.items():
        networks[name] = load_backbone(run)
        theirs = networks[name].info
        if (theirs.name, theirs.input_size) != (source.info.name, source.info.input_size):
            raise InputError(
                f"{run}: expected {source.info.name} for pictures of {source.info.input_size} as in {first}, got "
                f"{theirs.name} for {theirs.input_size}; show runs from one source network"
            )
    maps = [channel_maps(network, layer, channel, shown) for network in networks.values()]
    rows = [
        [picture, *(overlay(picture, of_network[index]) for of_network in maps)] for index, picture in enumerate(shown)
    ]
    figure = image_grid(["picture", *networks], rows)
    figure.suptitle(f"{layer}, channel {channel}", fontsize=9)
    return figure


@torch.no_grad()
def channel_maps(network: BackboneModule, layer: str, channel: int, pictures: np.ndarray) -> np.ndarray:
    """Compute one channel's maps.

    Args:
        network: In eval mode.
        layer: The layer's name.
        channel: From 0.
        pictures: (N, H, W, 3) uint8, RGB.

    Returns:
        (N, h, w) float32.

    Raises:
        InputError: If the layer is unknown, gives no maps, or has no such channel.
    """
    normalize: nn.Module = Normalize(network.info)
    with FeatureTap(network, [layer]) as tap:
        network(normalize(torch.from_numpy(pictures).permute(0, 3, 1, 2)))
        (maps,) = tap.maps
    if maps.ndim != 4:
        raise InputError(f"expected layer '{layer}' to give maps (N, C, H, W), got {tuple(maps.shape)}; choose another")
    if not 0 <= channel < maps.shape[1]:
        raise InputError(f"expected a channel from 0 to {maps.shape[1] - 1} of layer '{layer}', got {channel}")
    return np.asarray(maps[:, channel].numpy())
