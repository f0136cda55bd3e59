"""The networks that a file is compared with, without weights: those of the table, and mbf in any width and depth."""

import functools
from collections.abc import Iterable, Mapping

import torch

from facexfer.backbones.checkpoints.onnx_graph import OnnxGraph
from facexfer.backbones.mbf import MBF
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.registry import BACKBONES

_STEM = "layers.0.layers.0.weight"
# Wider than any ever made; a damaged file may claim more.
_WIDEST = 16
_Shapes = Mapping[str, tuple[int, ...]]


@functools.cache
def known_networks() -> tuple[BackboneModule, ...]:
    """Make every network of the table on torch's meta device, in eval mode; once in a process."""
    with torch.device("meta"):
        networks = [factory() for factory in BACKBONES.values()]
    return tuple(network.eval() for network in networks)


def mbfs_of_shapes(shapes: _Shapes) -> Iterable[BackboneModule]:
    """Make the mbf of each width and depth that a file's tensors may be of.

    Args:
        shapes: Shape by name, behind any leading part.

    Yields:
        Networks without weights, one for each leading part under which there is a stem.
    """
    for prefix in [name.removesuffix(_STEM) for name in shapes if name == _STEM or name.endswith(f".{_STEM}")]:
        network = _mbf_of(
            {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
        )
        if network is not None:
            yield network


def _mbf_of(shapes: _Shapes) -> BackboneModule | None:
    stem, last = shapes.get(_STEM, ()), shapes.get("features.layers.2.weight", ())
    if len(stem) != 4 or len(last) != 2 or stem[0] % 64 or not 0 < stem[0] <= 64 * _WIDEST:
        return None
    stages = [[name for name in shapes if name.startswith(f"layers.{2 * i + 1}.")] for i in range(4)]
    blocks = [len({name.split(".")[3] for name in stage if name.count(".") > 2}) for stage in stages]
    first = blocks[0] if "layers.1.layers.0.layers.0.weight" in shapes else 1
    if min(blocks) < 1:
        return None
    with torch.device("meta"):
        return MBF("mbf", stem[0] // 64, (first, *blocks[1:]), last[0]).eval()


def mbf_of_graph(graph: OnnxGraph) -> BackboneModule | None:
    """Make the mbf of a graph's widths and numbers of blocks.

    Args:
        graph: As read.

    Returns:
        The network without weights, or None where the graph cannot be one.
    """
    convolutions = [node for node in graph.nodes.values() if node.op == "conv"]
    linear = [node for node in graph.nodes.values() if node.op == "linear"]
    if not convolutions or len(linear) != 1:
        return None
    blocks = [0]
    for node in convolutions:
        if node.attributes["groups"] > 1 and node.arrays["weight"].shape[2:] == (3, 3):
            # A stage begins with a depthwise filter of stride 2, and each of its blocks has one of stride 1.
            if node.attributes["stride"] == (2, 2):
                blocks.append(0)
            else:
                blocks[-1] += 1
    scale, rest = divmod(len(convolutions[0].arrays["weight"]), 64)
    if rest or len(blocks) != 4 or min(*blocks, scale) < 1:
        return None
    with torch.device("meta"):
        return MBF("mbf", scale, blocks, len(linear[0].arrays["weight"])).eval()
