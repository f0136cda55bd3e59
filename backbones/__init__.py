"""One network per file, with its taps and normalisation, and the readers that bring foreign weights in."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from torch import nn

from facexfer.backbones.adapted import AdaptedNetwork
from facexfer.backbones.checkpoints.form import file_form
from facexfer.backbones.checkpoints.loading import load_entries
from facexfer.backbones.checkpoints.mxnet import load_mxnet
from facexfer.backbones.checkpoints.onnx_weights import load_onnx
from facexfer.backbones.checkpoints.torch_files import load_torch, read_metadata
from facexfer.backbones.image_networks import ImageNetwork, library_network
from facexfer.backbones.known_networks import complete_name, shapes_in
from facexfer.backbones.modulated import ModulatedNetwork
from facexfer.backbones.own_network import embedding_size, own_network
from facexfer.backbones.parts.carried import facts_from_metadata
from facexfer.backbones.parts.info import Backbone, BackboneInfo, BackboneModule, Tap
from facexfer.backbones.prefixed import PrefixedNetwork
from facexfer.backbones.registry import BACKBONES
from facexfer.backbones.revive import folded_layers
from facexfer.backbones.sources import find_source, find_weights
from facexfer.backbones.spelling import join_name, split_name
from facexfer.errors import InputError
from facexfer.registry import blaming, is_foreign, modules_of

__all__ = ["BACKBONES", "Backbone", "BackboneInfo", "BackboneModule", "Tap", "create_backbone"]

# Every network's file adds itself to the table.
for _ in modules_of(__name__, __path__):
    pass

_NAMED = "torchvision:"
_CROP = (112, 112)
_ADAPTED: dict[str, type[PrefixedNetwork] | type[ModulatedNetwork]] = {"pdt": PrefixedNetwork, "caim": ModulatedNetwork}


def create_backbone(
    name: str | nn.Module, weights: str | Path | None = None, input_size: Sequence[int] | None = None, **options: Any
) -> BackboneModule:
    """Make a network, with random weights or from a file.

    The file's form is seen from its content. What is known of it goes to standard error: its origin and licence, where
    in it the weights were and what was left out, and for an ONNX file the largest difference between the original's
    embeddings and ours.

    Args:
        name: One of `BACKBONES`, with options in brackets where it has any (``mbf(scale=1)``), or
            ``torchvision:NAME`` or ``timm:NAME``; ``pdt:NAME`` or ``caim:NAME`` for one of those with a part that is
            trained in its place (`facexfer.backbones.prefixed`, `facexfer.backbones.modulated`); or your own network
            that maps normalised images (N, 3, H, W) to embeddings (N, D), which `mean` and `scale` come with: see
            `facexfer.backbones.own_network`.
        weights: An MXNet ``.params`` file, a torch or safetensors file with the network's names in it, whatever is
            saved along with them, an ONNX file, or the name of an InsightFace pack; ``torchvision:WEIGHTS`` gets
            torchvision's own where there is a network connection; None leaves the weights random.
        input_size: (height, width) in pixels, where the images have another size than the network's usual one; of a
            network of yours, (112, 112) if not.
        **options: Of the network, such as ``scale`` and ``blocks`` of ``mbf``; its ``head`` is the file's where none is
            given.

    Returns:
        The network in train mode, with `info`; in eval mode where the file has BatchNorm folded into convolutions:
        `facexfer.backbones.revive.revive_batchnorm` comes before training then.

    Raises:
        InputError: If the name or an option is unknown, ``input_size`` is no height and width, or the file is missing,
            damaged or of another network.

    Example:
        >>> create_backbone("mobilefacenett")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facexfer.errors.InputError: unknown backbone 'mobilefacenett'; did you mean 'mobilefacenet'? backbones: ...
    """
    size = None if input_size is None else _height_and_width(input_size)
    if isinstance(name, str):
        if weights is not None and "head" not in options and not str(weights).startswith(_NAMED):
            name = complete_name(name, lambda: shapes_in(find_weights(str(weights))))
        kind, _, frozen = name.partition(":")
        if kind in _ADAPTED and frozen:
            return _make_adapted(_ADAPTED[kind], frozen, weights, size, options)
    if isinstance(name, nn.Module):
        network: BackboneModule = own_network(name, size or _CROP, **options)
    else:
        network = library_network(name) if ":" in name else _make(name, options)
    if size is not None:
        network.info = replace(network.info, input_size=size)
    if weights is not None and str(weights).startswith(_NAMED) and isinstance(network, ImageNetwork):
        entries = network.named_weights(str(weights).removeprefix(_NAMED))
        load_entries(network, network.adapt_entries(entries), str(weights))
        network.info = replace(network.info, licence="unknown", source=str(weights))
        return network
    if weights is None:
        return network
    path = find_weights(str(weights))
    form = file_form(path)
    network.info = replace(network.info, licence="unknown", source=path.name)
    if form == "mxnet":
        said = [load_mxnet(network, path)]
    elif form == "onnx":
        said = [load_onnx(network, path)]
    elif form == "symbol":
        raise InputError(f"{path}: expected weights, got an MXNet symbol or other JSON; give its .params file")
    else:
        said = [load_torch(network, path)]
        # A network that facexfer has trained says where its own source came from.
        network.info = facts_from_metadata(network.info, read_metadata(path))
        # A fresh network's BatchNorm does nothing either, but a folded one adds the convolution's bias.
        folded = folded_layers(network)
        network.folded = tuple(each for each in folded if bool(network.get_parameter(f"{each}.bias").any()))
    source = find_source(path)
    if source is not None:
        network.info = replace(network.info, licence=source.licence, source=source.origin)
    if network.info.licence != "unknown":
        said.append(f"from {network.info.source or 'random weights'}; licence: {network.info.licence}")
    if network.folded:
        said.append(f"{len(network.folded)} folded BatchNorm layers, to be revived from images before training")
        network.eval()
    if any(said):
        sys.stderr.write(f"{path.name}: {'; '.join(filter(None, said))}\n")
    return network


def _height_and_width(given: Sequence[int]) -> tuple[int, int]:
    size = tuple(given) if isinstance(given, Sequence) else ()
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise InputError(
            f"expected input_size as (height, width) in pixels, got {given!r}; write (112, 112), for example"
        )
    return size


def _make(name: str, options: dict[str, Any]) -> BackboneModule:
    bare, spelled = split_name(name)
    options = {**spelled, **options}
    factory = BACKBONES[bare]
    if is_foreign(factory):
        network = _make_foreign(factory, bare, options)
    else:
        try:
            network = factory(**options)
        except TypeError as error:
            raise InputError(f"expected options of {bare}, got {', '.join(options)}: {error}") from error
    network.info = replace(network.info, name=join_name(network.info.name, options))
    return network


def _make_foreign(factory: Callable[..., BackboneModule], name: str, options: dict[str, Any]) -> BackboneModule:
    """Make a plugin's network, and check that it is what its `info` says."""
    try:
        signature(factory).bind(**options)
    except TypeError as error:
        raise InputError(f"expected options of {name}, got {', '.join(options) or 'none'}: {error}") from error
    with blaming(factory, f"backbone '{name}'"):
        network = factory(**options)
        info = getattr(network, "info", None)
        if not isinstance(network, BackboneModule) or not isinstance(info, BackboneInfo):
            raise InputError(
                f"backbone '{name}': expected a facexfer.backbones.BackboneModule with its info, got "
                f"{type(network).__name__}; return facexfer.create_backbone(network, mean=127.5, scale=1 / 127.5)"
            )
        # What is of facexfer's own classes has been looked at.
        size = embedding_size(network, info.input_size) if is_foreign(network) else info.embedding_size
        if size != info.embedding_size:
            raise InputError(
                f"backbone '{name}': expected {info.embedding_size} numbers per image, as its info says, got {size}; "
                "correct its embedding_size"
            )
    return network


def _make_adapted(
    kind: type[PrefixedNetwork] | type[ModulatedNetwork],
    name: str,
    weights: str | Path | None,
    input_size: tuple[int, int] | None,
    options: dict[str, Any],
) -> AdaptedNetwork:
    """Add the trained part to a network; the file is the network's own, or holds both."""
    path = None if weights is None or str(weights).startswith(_NAMED) else find_weights(str(weights))
    if path is None or not kind.is_in(path):
        network = kind(create_backbone(name, weights, input_size, **options))
        return network.eval() if network.folded else network
    network = kind(create_backbone(name, input_size=input_size, **options))
    said = load_torch(network, path)
    network.info = facts_from_metadata(replace(network.info, licence="unknown", source=path.name), read_metadata(path))
    if said:
        sys.stderr.write(f"{path.name}: {said}\n")
    return network
