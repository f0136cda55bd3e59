"""The networks that a file is compared with, without weights: those of the table, and mbf in any form."""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

from facexfer.backbones.checkpoints.containers import tensor_groups
from facexfer.backbones.checkpoints.form import file_form
from facexfer.backbones.checkpoints.onnx_graph import OnnxGraph, read_onnx_graph
from facexfer.backbones.checkpoints.torch_files import read_content
from facexfer.backbones.mbf import FLAT, MBF
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.registry import BACKBONES
from facexfer.backbones.spelling import join_name, split_name
from facexfer.registry import is_foreign

_STEM = "layers.0.layers.0.weight"
_FC = "fc.weight"
_WITH_HEADS = ("mbf", "mbf_large")
# Wider than any ever made; a damaged file may claim more.
_WIDEST = 16
_Shapes = Mapping[str, tuple[int, ...]]


@functools.cache
def known_networks() -> tuple[BackboneModule, ...]:
    """Make every network of the table on torch's meta device, in eval mode; once in a process.

    A plugin's that cannot be made there without options, or that has no weights, is left out: files of it are known by
    its name alone.
    """
    networks = []
    for factory in BACKBONES.values():
        try:
            with torch.device("meta"):
                networks.append(factory())
        except Exception:
            if not is_foreign(factory):
                raise
    made = (network for network in networks if isinstance(network, BackboneModule))
    return tuple(network.eval() for network in made if next(network.parameters(), None) is not None)


def mbfs_of_shapes(shapes: _Shapes) -> Iterable[BackboneModule]:
    """Make the mbf of each width, depth and head that a file's tensors may be of.

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
    head = _head_of(shapes)
    stem, last = shapes.get(_STEM, ()), shapes.get(_FC if head == "fc" else "features.layers.2.weight", ())
    if len(stem) != 4 or len(last) != 2 or stem[0] % 64 or not 0 < stem[0] <= 64 * _WIDEST:
        return None
    stages = [[name for name in shapes if name.startswith(f"layers.{2 * i + 1}.")] for i in range(4)]
    blocks = [len({name.split(".")[3] for name in stage if name.count(".") > 2}) for stage in stages]
    first = blocks[0] if "layers.1.layers.0.layers.0.weight" in shapes else 1
    if min(blocks) < 1:
        return None
    with torch.device("meta"):
        return MBF("mbf", stem[0] // 64, (first, *blocks[1:]), last[0], head).eval()


def mbf_of_graph(graph: OnnxGraph) -> BackboneModule | None:
    """Make the mbf of a graph's widths, numbers of blocks and head.

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
        return MBF("mbf", scale, blocks, len(linear[0].arrays["weight"]), _head_of(_linear(graph))).eval()


def complete_name(name: str, shapes: Callable[[], _Shapes]) -> str:
    """Add to a network's name what it leaves open and its weights decide: which head an ``mbf`` has.

    Args:
        name: As `create_backbone` takes it.
        shapes: Gives shape by name, behind any leading part; called only where the name leaves something open.

    Returns:
        The name, such as ``mbf(head='fc')`` for ``mbf`` and ``w600k_mbf.onnx``; as it was for every other network.

    Example:
        >>> complete_name("mbf", lambda: {"fc.weight": (512, 3136)})
        "mbf(head='fc')"
    """
    kind, colon, network = name.rpartition(":")
    bare, options = split_name(network)
    if bare not in _WITH_HEADS or "head" in options or _head_of(shapes()) == "gdc":
        return name
    return f"{kind}{colon}{join_name(bare, {**options, 'head': 'fc'})}"


def shapes_in(path: Path) -> _Shapes:
    """Read the shapes of a file's tensors by name; of an ONNX file, of its linear layers.

    Raises:
        InputError: If the file is missing or damaged.
    """
    form = file_form(path)
    if form == "onnx":
        return _linear(read_onnx_graph(path))
    if form in ("mxnet", "symbol"):
        return {}
    groups = tensor_groups(read_content(path))
    return {f"{place}.{name}": tuple(tensor.shape) for place, group in groups.items() for name, tensor in group.items()}


def _linear(graph: OnnxGraph) -> _Shapes:
    found = (node.arrays["weight"].shape for node in graph.nodes.values() if node.op == "linear")
    return {f"{number}.{_FC}": shape for number, shape in enumerate(found)}


def _head_of(shapes: _Shapes) -> str:
    found = [shape for name, shape in shapes.items() if name == _FC or name.endswith(f".{_FC}")]
    return "fc" if any(len(shape) == 2 and shape[1] == FLAT for shape in found) else "gdc"
