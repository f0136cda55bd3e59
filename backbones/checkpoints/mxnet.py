"""Fill our networks from MXNet's ``.params`` files."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from facexfer.backbones.checkpoints.loading import load_entries
from facexfer.backbones.checkpoints.mxnet_params import read_mxnet_params
from facexfer.backbones.parts.info import BackboneModule
from facexfer.errors import InputError

# A BatchNorm with fix_gamma=True takes 1 for its scale, whatever the file holds.
_FIXED_SCALE = "fc1_gamma"
_Shapes = Mapping[str, tuple[int, ...]]


def load_mxnet(network: BackboneModule, path: Path) -> str:
    """Fill a network from a ``.params`` file.

    Args:
        network: One that knows its MXNet names.
        path: The file; a classifier and an optimizer's state in the same file are left out.

    Returns:
        What was left out, as a line; empty if nothing was.

    Raises:
        InputError: If the network has no MXNet form, the file is damaged, or an entry does not fit.
    """
    names = mxnet_names(network)
    if not names:
        raise InputError(f"{path}: expected a network with an MXNet form, got {network.info.name}; choose another")
    arrays = read_mxnet_params(path)
    arrays.pop(_FIXED_SCALE, None)
    extras = mxnet_extras(network, {name: array.shape for name, array in arrays.items()})
    entries = {name: torch.from_numpy(array) for name, array in arrays.items() if name not in extras}
    load_entries(network, entries, str(path), names)
    return left_out(extras)


def mxnet_names(network: BackboneModule) -> dict[str, str]:
    """Our names of a network's tensors -> MXNet's; empty for a network without an MXNet form."""
    give: Callable[[], dict[str, str]] | None = getattr(network, "mxnet_names", None)
    return {} if give is None else give()


def mxnet_fits(network: BackboneModule, shapes: _Shapes) -> bool:
    """Whether a file's arrays are a network's, all of them and no other's, except for what may be stored with it."""
    names, state = mxnet_names(network), network.state_dict()
    known = {*names.values(), _FIXED_SCALE, *mxnet_extras(network, shapes)} if names else set()
    return (
        bool(names)
        and shapes.keys() <= known
        and all(shapes.get(theirs) == state[key].shape for key, theirs in names.items())
    )


def mxnet_extras(network: BackboneModule, shapes: _Shapes) -> tuple[str, ...]:
    """Find what a file holds in addition to a network: a head on its embeddings, an optimizer's copies and counters.

    Args:
        network: One that knows its MXNet names.
        shapes: Of the file's arrays, by name.

    Returns:
        The names of a matrix with the embedding's length on a side and of what belongs to the same layer, of copies
        in the shape and with the name of one of the network's arrays, and of single numbers; none where the network
        itself is not complete.
    """
    names = mxnet_names(network).values()
    if not shapes.keys() >= set(names):
        return ()
    size = network.info.embedding_size
    others = {name: shape for name, shape in shapes.items() if name not in names and name != _FIXED_SCALE}
    heads = {name.rpartition("_")[0] for name, shape in others.items() if len(shape) == 2 and size in shape}
    return tuple(
        name
        for name, shape in others.items()
        if name.rpartition("_")[0] in heads
        or shape in ((), (0,), (1,))
        or any(theirs in name and shape == shapes.get(theirs) for theirs in names)
    )


def left_out(names: tuple[str, ...]) -> str:
    """What of a file is not the network's; empty if nothing is."""
    if not names:
        return ""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"left out {len(names)} arrays that are not the network's: {shown}"
