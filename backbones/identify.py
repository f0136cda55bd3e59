"""What a file of weights is, found without running any code in it."""

import contextlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from facexfer.backbones.checkpoints.containers import Weights, choose_weights, fitting_weights, tensor_groups
from facexfer.backbones.checkpoints.form import file_form, read_symbol
from facexfer.backbones.checkpoints.mxnet import left_out, mxnet_extras, mxnet_fits, mxnet_names
from facexfer.backbones.checkpoints.mxnet_params import read_mxnet_params
from facexfer.backbones.checkpoints.onnx_graph import OnnxGraph, read_onnx_graph
from facexfer.backbones.checkpoints.onnx_match import Match, match_graph
from facexfer.backbones.checkpoints.onnx_order import UsedInOrder
from facexfer.backbones.checkpoints.onnx_weights import own_facts
from facexfer.backbones.checkpoints.torch_files import read_content, read_metadata
from facexfer.backbones.known_networks import known_networks, mbf_of_graph, mbfs_of_shapes
from facexfer.backbones.mbf import MBF
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.sources import find_source
from facexfer.backbones.spelling import join_name
from facexfer.errors import InputError


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
    form = file_form(path)
    if form == "mxnet":
        return _of_mxnet(path)
    if form == "symbol":
        return _of_symbol(path)
    if form == "onnx":
        return _of_onnx(path)
    metadata = read_metadata(path) if form == "safetensors" else {}
    spelled = form if form == "safetensors" else form.replace("torch", "torch state dict,")
    return _of_tensors(path, spelled, metadata)


def _of_tensors(path: Path, form: str, metadata: Mapping[str, str]) -> FileFacts:
    groups = tensor_groups(read_content(path))
    network, found = _network_of_groups(groups)
    try:
        chosen = choose_weights(found) if found else None
        remark = "" if chosen is None else chosen.said()
    except InputError as error:
        chosen, remark = found[0], f"cannot be loaded as it is: {error}"
    tensors = {name: tensor for group in groups.values() for name, tensor in group.items()}
    if chosen is not None:
        tensors = dict(chosen.entries)
    elif not tensors:
        raise InputError(f"{path}: expected named tensors, got none; save the state_dict")
    elif not metadata.get("backbone"):
        remark = f"none of our networks; {_glimpse(tensors)}"
    if metadata.get("format"):
        remark = f"a training state of facexfer ({metadata['format']})"
    if metadata.get("backbone"):
        remark = f"trained by facexfer from {metadata.get('source') or 'random weights'}"
    half = any(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in tensors.values())
    count = sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point())
    facts = _facts(path, form + (", half precision" if half else ""), network, count, remark=remark)
    return _with_own(facts, metadata)


def _network_of_groups(
    groups: Mapping[str, Mapping[str, torch.Tensor]],
) -> tuple[BackboneModule | None, list[Weights]]:
    shapes = [{name: tuple(tensor.shape) for name, tensor in group.items()} for group in groups.values()]
    for network in (*known_networks(), *(each for group in shapes for each in mbfs_of_shapes(group))):
        found = fitting_weights(network, groups)
        if found:
            return network, found
    return None, []


def _glimpse(tensors: Mapping[str, torch.Tensor]) -> str:
    names = list(tensors)
    shown = [f"{name} {tuple(tensors[name].shape)}" for name in (names[0], names[-1])]
    return f"{len(names)} tensors, {shown[0]} to {shown[1]}"


def _of_mxnet(path: Path) -> FileFacts:
    arrays = read_mxnet_params(path)
    shapes = {name: array.shape for name, array in arrays.items()}
    found = next((each for each in known_networks() if mxnet_fits(each, shapes)), None)
    remark = f"none of our networks; {len(arrays)} arrays"
    if found is not None:
        extras = mxnet_extras(found, shapes)
        arrays = {name: array for name, array in arrays.items() if name not in extras}
        remark = left_out(extras)
    return _facts(path, "MXNet .params", found, sum(array.size for array in arrays.values()), remark=remark)


def _of_symbol(path: Path) -> FileFacts:
    names, operators = read_symbol(path)
    found = next(
        (each for each in known_networks() if mxnet_names(each) and set(mxnet_names(each).values()) <= names), None
    )
    remark = f"the graph alone, {operators} operators; its weights are a .params file"
    return _facts(path, "MXNet symbol", found, None, remark=remark)


def _of_onnx(path: Path) -> FileFacts:
    graph = read_onnx_graph(path)
    form = f"ONNX, opset {graph.opset}, {graph.producer or 'unknown producer'}" + (
        ", half precision" if graph.half else ""
    )
    network, match = _network_of_graph(graph)
    shape = "(" + ", ".join("N" if side is None else str(side) for side in graph.input_shape) + ")"
    if network is None:
        kinds = sorted({str(node.op) for node in graph.nodes.values()})
        remark = f"none of our networks; {len(graph.nodes)} nodes ({', '.join(kinds)}), {len(graph.outputs)} outputs"
    else:
        folded = len(match.folded)
        remark = "; ".join(
            text
            for text, holds in (
                (f"{folded} BatchNorm layers folded into convolutions", folded),
                ("takes images as NHWC", graph.channels_last),
                ("adds the embedding of the mirrored image", graph.flip),
                ("divides embeddings by their length", graph.unit_length),
            )
            if holds
        )
    return _with_own(_facts(path, form, network, graph.parameters, shape, match, remark), own_facts(graph))


def _with_own(facts: FileFacts, own: Mapping[str, str]) -> FileFacts:
    """Take origin and licence from what facexfer has written into the file, where it is no published one."""
    if facts.licence or not own.get("licence"):
        return facts
    return replace(facts, licence=own["licence"], origin=own.get("source") or "random weights")


def _network_of_graph(graph: OnnxGraph) -> tuple[BackboneModule | None, Match]:
    convolutions = sum(node.op == "conv" for node in graph.nodes.values())
    found: list[tuple[BackboneModule, Match]] = []
    for network in known_networks():
        ours = sum(isinstance(module, nn.Conv2d) for module in network.modules())
        # Of what makes a table of positions, a graph holds the table.
        if ours == convolutions or isinstance(network, UsedInOrder):
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
    relative = mbf_of_graph(graph)
    if relative is not None:
        with contextlib.suppress(InputError):
            return relative, match_graph(relative, graph)
    return None, Match()


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
    found = {
        "scale": network.scale,
        "blocks": network.blocks,
        "embedding_size": network.info.embedding_size,
        "head": network.head,
    }
    usual = {"scale": 2, "blocks": (1, 4, 6, 2), "embedding_size": 512, "head": "gdc"}
    return join_name("mbf", {key: value for key, value in found.items() if value != usual[key]})
