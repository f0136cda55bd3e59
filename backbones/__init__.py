"""One network per file, its taps and normalisation beside it, and the readers that bring foreign weights in."""

from dataclasses import replace
from pathlib import Path

from facexfer.backbones import lresnet_ir, mobilefacenet  # noqa: F401  (they add themselves to the table)
from facexfer.backbones.checkpoints.mxnet import load_mxnet
from facexfer.backbones.checkpoints.torch_files import SUFFIXES, load_torch
from facexfer.backbones.info import Backbone, BackboneInfo, BackboneModule, Tap
from facexfer.backbones.registry import BACKBONES
from facexfer.errors import InputError

__all__ = ["BACKBONES", "Backbone", "BackboneInfo", "BackboneModule", "Tap", "create_backbone"]


def create_backbone(name: str, weights: str | Path | None = None) -> BackboneModule:
    """Make a network, with random weights or from a file.

    Args:
        name: One of `BACKBONES`.
        weights: An MXNet ``.params`` file, or a torch or safetensors file with our names; None leaves the weights
            random.

    Returns:
        The network in train mode, with `info`.

    Raises:
        InputError: If the name is unknown, or the file is missing, damaged or of another network.

    Example:
        >>> create_backbone("mobilefacenett")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facexfer.errors.InputError: unknown backbone 'mobilefacenett'; did you mean 'mobilefacenet'? backbones: ...
    """
    network = BACKBONES[name]()
    if weights is None:
        return network
    path = Path(weights)
    if path.suffix == ".params":
        load_mxnet(network, path)
    elif path.suffix in SUFFIXES:
        load_torch(network, path)
    else:
        raise InputError(
            f"{path}: expected an MXNet .params file or one of {', '.join(SUFFIXES)}, got '{path.suffix}'; "
            "convert it first"
        )
    network.info = replace(network.info, licence="unknown", source=path.name)
    return network
