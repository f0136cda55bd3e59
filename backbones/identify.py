"""Say what a file of weights is, without running any code of it."""

import contextlib
import copy
import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from facexfer.backbones.checkpoints.mxnet_params import read_mxnet_params
from facexfer.backbones.checkpoints.onnx_graph import OnnxGraph, read_onnx_graph
from facexfer.backbones.checkpoints.onnx_match import Match, match_graph
from facexfer.backbones.checkpoints.torch_files import read_metadata, read_tensors
from facexfer.backbones.image_networks import ImageNetwork
from facexfer.backbones.mbf import MBF
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.registry import BACKBONES
from facexfer.backbones.sources import find_source
from facexfer.backbones.spelling import join_name
from facexfer.errors import InputError

_COUNTER = "num_batches_tracked"
_MXNET_MAGIC = (0x112).to_bytes(8, "little")
_Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class FileFacts:
    """What a file is; None or an empty text where that cannot be known from it.

    Attributes:
        format: The file's form.
        network: The name under which `create_backbone` makes its network.
        embedding_size: D.
        input: The shape that it takes.
        normalisation: How pixels 0..255 become its input.
        parameters: Numbers in the file's tensors, BatchNorm statistics included.
        origin: Where it comes from.
        licence: Of the weights.
        remark: What else a user should know.
    """

    format: str
    network: str | None = None
    embedding_size: int | None = None
    input: str = ""
    normalisation: str = ""
    parameters: int | None = None
    origin: str = ""
    licence: str = ""
    remark: str = ""


def identify(path: Path) -> FileFacts:
    """Read a file's head and contents and compare them with every network.

    Args:
        path: The file.

    Returns:
        The facts.

    Raises:
        InputError: If the file is missing, damaged or none of the known forms.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {error}; check the path") from error
    if head.startswith(_MXNET_MAGIC):
        facts = _of_mxnet(path)
    elif head.startswith((b"PK\x03\x04", b"\x80\x02")):
        facts = _of_tensors(path, "torch state dict" + (", zip" if head[:2] == b"PK" else ", legacy"), {})
    elif head[8:9] == b"{":
        facts = _of_tensors(path, "safetensors", read_metadata(path))
    elif head.lstrip()[:1] == b"{":
        facts = _of_symbol(path)
    elif path.suffix == ".onnx" or head[:1] == b"\x08":
        facts = _of_onnx(path)
    else:
        raise InputError(
            f"{path}: expected weights (MXNet .params or symbol, torch, safetensors) or an ONNX file, got none of them"
        )
    return facts


def network_of_tensors(shapes: _Shapes) -> BackboneModule | None:
    """Find the network with exactly these names and shapes.

    Args:
        shapes: Shape by name, without a prefix; counters of batches do not matter.

    Returns:
        The network without weights (on torch's meta device), or None.

    Example:
        >>> network_of_tensors({"a": (1,)}) is None
        True
    """
    wanted = {name: shape for name, shape in shapes.items() if not name.endswith(_COUNTER)}
    for network in _networks():
        if _shapes_of(network) == wanted:
            return network
    return _mbf_relative(wanted)


@functools.cache
def _networks() -> tuple[BackboneModule, ...]:
    with torch.device("meta"):
        networks = [factory() for factory in BACKBONES.values()]
    return tuple(network.eval() for network in networks)


def _shapes_of(network: BackboneModule) -> dict[str, tuple[int, ...]]:
    state = network.state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(_COUNTER)}


def _mbf_relative(shapes: _Shapes) -> BackboneModule | None:
    stem, last = shapes.get("layers.0.layers.0.weight", ()), shapes.get("features.layers.2.weight", ())
    if len(stem) != 4 or len(last) != 2 or stem[0] % 64 or not stem[0]:
        return None
    blocks = [len({name.split(".")[3] for name in shapes if name.startswith(f"layers.{2 * i + 1}.")}) for i in range(4)]
    first = blocks[0] if "layers.1.layers.0.layers.0.layers.0.weight" in shapes else 1
    if min(blocks) < 1:
        return None
    with torch.device("meta"):
        network = MBF("mbf", stem[0] // 64, (first, *blocks[1:]), last[0])
    return network if _shapes_of(network) == dict(shapes) else None


def _of_tensors(path: Path, form: str, metadata: Mapping[str, str]) -> FileFacts:
    tensors = read_tensors(path)
    half = any(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in tensors.values())
    network = network_of_tensors(_shapes(tensors)) or _classifier_of_images(tensors)
    count = sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point())
    remark = "" if network is not None else f"none of our networks; {_glimpse(tensors)}"
    if metadata.get("backbone"):
        remark = f"trained by facexfer from {metadata.get('source') or 'random weights'}"
    return _facts(path, form + (", half precision" if half else ""), network, count, remark=remark)


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _classifier_of_images(tensors: Mapping[str, torch.Tensor]) -> BackboneModule | None:
    """Find the image network whose trunk and last layer these are, whatever the number of classes."""
    for network in _networks():
        if isinstance(network, ImageNetwork):
            # A copy, since it keeps the classifier that it finds.
            found = network_of_tensors(_shapes(copy.copy(network).adapt_entries(tensors)))
            if found is not None:
                return found
    return None


def _glimpse(tensors: Mapping[str, torch.Tensor]) -> str:
    names = list(tensors)
    shown = [f"{name} {tuple(tensors[name].shape)}" for name in (names[0], names[-1])]
    return f"{len(names)} tensors, {shown[0]} to {shown[1]}"


def _of_mxnet(path: Path) -> FileFacts:
    arrays = read_mxnet_params(path)
    found = _by_mxnet_names({name: array.shape for name, array in arrays.items()})
    remark = "" if found is not None else f"none of our networks; {len(arrays)} arrays"
    return _facts(path, "MXNet .params", found, sum(array.size for array in arrays.values()), remark=remark)


def _of_symbol(path: Path) -> FileFacts:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {node["name"] for node in content["nodes"] if node["op"] == "null"}
        operators = sum(node["op"] != "null" for node in content["nodes"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected an MXNet symbol, got other JSON ({type(error).__name__})") from error
    found = next(
        (each for each in _networks() if _mxnet_names(each) and set(_mxnet_names(each).values()) <= names), None
    )
    remark = f"the graph alone, {operators} operators; its weights are a .params file"
    return _facts(path, "MXNet symbol", found, None, remark=remark)


def _mxnet_names(network: BackboneModule) -> dict[str, str]:
    give = getattr(network, "mxnet_names", None)
    return dict(give()) if give is not None else {}


def _by_mxnet_names(shapes: _Shapes) -> BackboneModule | None:
    for network in _networks():
        names, ours = _mxnet_names(network), _shapes_of(network)
        if names and all(shapes.get(theirs) == ours[key] for key, theirs in names.items()):
            return network
    return None


def _of_onnx(path: Path) -> FileFacts:
    graph = read_onnx_graph(path)
    form = f"ONNX, opset {graph.opset}, {graph.producer or 'unknown producer'}" + (
        ", half precision" if graph.half else ""
    )
    network, match = _network_of_graph(graph)
    shape = "(" + ", ".join("N" if side is None else str(side) for side in graph.input_shape) + ")"
    if network is None:
        kinds = sorted({node.op for node in graph.nodes.values()})
        remark = f"none of our networks; {len(graph.nodes)} nodes ({', '.join(kinds)}), {len(graph.outputs)} outputs"
    else:
        folded = len(match.folded)
        remark = f"{folded} BatchNorm layers folded into convolutions" if folded else ""
    return _facts(path, form, network, graph.parameters, shape, match, remark)


def _network_of_graph(graph: OnnxGraph) -> tuple[BackboneModule | None, Match]:
    convolutions = sum(node.op == "conv" for node in graph.nodes.values())
    found: list[tuple[BackboneModule, Match]] = []
    for network in _networks():
        if sum(isinstance(module, nn.Conv2d) for module in network.modules()) == convolutions:
            with contextlib.suppress(InputError):
                found.append((network, match_graph(network, graph)))
    # InsightFace's networks by MXNet and by torch compute alike; what tells them apart is the normalisation.
    for network, match in found:
        if match.scale is not None and all(
            math.isclose(*pair, rel_tol=1e-4) for pair in zip(match.scale, network.info.scale, strict=True)
        ):
            return network, match
    if found:
        return found[0]
    relative = _mbf_of_graph(graph)
    if relative is not None:
        with contextlib.suppress(InputError):
            return relative, match_graph(relative, graph)
    return None, Match()


def _mbf_of_graph(graph: OnnxGraph) -> BackboneModule | None:
    """Make the mbf of a graph's widths and numbers of blocks."""
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


def _facts(
    path: Path,
    form: str,
    network: BackboneModule | None,
    parameters: int | None,
    shape: str = "",
    match: Match | None = None,
    remark: str = "",
) -> FileFacts:
    source = find_source(path)
    normalisation = ""
    if network is not None:
        info = network.info
        shape = shape or f"(N, 3, {info.input_size[0]}, {info.input_size[1]})"
        inside = match is not None and match.mean is not None
        mean, scale = (match.mean, match.scale) if match is not None and inside else (info.mean, info.scale)
        normalisation = f"{info.color_order}, {_normalisation(mean, scale)}" + (
            ", inside the graph" if inside else ", outside; usual for this network"
        )
    return FileFacts(
        format=form,
        network=_name(network) if network is not None else None,
        embedding_size=network.info.embedding_size if network is not None else None,
        input=shape,
        normalisation=normalisation,
        parameters=parameters,
        origin=source.origin if source is not None else "",
        licence=source.licence if source is not None else "",
        remark=remark,
    )


def _normalisation(mean: Iterable[float] | None, scale: Iterable[float] | None) -> str:
    means, scales = tuple(mean or ()), tuple(scale or ())
    if len(set(means)) == len(set(scales)) == 1:
        return f"(x - {means[0]:g}) / {1 / scales[0]:g}"
    return f"(x - ({', '.join(f'{each:g}' for each in means)})) / ({', '.join(f'{1 / each:g}' for each in scales)})"


def _name(network: BackboneModule) -> str:
    if not isinstance(network, MBF) or network.info.name != "mbf":
        return network.info.name
    found = {"scale": network.scale, "blocks": network.blocks, "embedding_size": network.info.embedding_size}
    usual = {"scale": 2, "blocks": (1, 4, 6, 2), "embedding_size": 512}
    return join_name("mbf", {key: value for key, value in found.items() if value != usual[key]})
