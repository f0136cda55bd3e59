"""Fill our networks from MXNet's ``.params`` files."""

from collections.abc import Callable
from pathlib import Path

import torch

from facexfer.backbones.checkpoints.loading import load_entries
from facexfer.backbones.checkpoints.mxnet_params import read_mxnet_params
from facexfer.backbones.parts.info import BackboneModule
from facexfer.errors import InputError

# A BatchNorm with fix_gamma=True takes 1 for its scale, whatever the file holds.
_FIXED_SCALE = "fc1_gamma"


def load_mxnet(network: BackboneModule, path: Path) -> None:
    """Fill a network from a ``.params`` file.

    Args:
        network: One that knows its MXNet names.
        path: The file.

    Raises:
        InputError: If the network has no MXNet form, the file is damaged, or an entry does not fit.
    """
    mxnet_names: Callable[[], dict[str, str]] | None = getattr(network, "mxnet_names", None)
    if mxnet_names is None:
        raise InputError(f"{path}: expected a network with an MXNet form, got {network.info.name}; choose another")
    arrays = read_mxnet_params(path)
    arrays.pop(_FIXED_SCALE, None)
    entries = {name: torch.from_numpy(array) for name, array in arrays.items()}
    load_entries(network, entries, str(path), mxnet_names())
