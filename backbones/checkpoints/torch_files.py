"""Read named tensors from torch and safetensors files; nothing in them is ever run."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from facexfer.backbones.checkpoints.loading import load_entries
from facexfer.backbones.parts.info import BackboneModule
from facexfer.errors import InputError

SUFFIXES = (".safetensors", ".pt", ".pth", ".tar", ".ckpt")
_WRAPPERS = ("state_dict", "net_state_dict", "model", "net", "backbone")
_PREFIXES = ("module.", "_orig_mod.", "backbone.", "model.")


def load_torch(network: BackboneModule, path: Path) -> None:
    """Fill a network from a torch or safetensors file that has our names.

    Args:
        network: What is filled.
        path: The file; one wrapping dictionary (``state_dict`` and the like) and a prefix that all names share
            (``module.``, ``backbone.``) are taken off.

    Raises:
        InputError: If the file is damaged, holds more than tensors, or an entry does not fit.
    """
    entries = read_tensors(path)
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = getattr(network, "adapt_entries", None)
    load_entries(network, adapt(entries) if adapt else entries, str(path))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a torch or safetensors file, by name.

    Args:
        path: The file.

    Returns:
        Tensors by name.

    Raises:
        InputError: If the file is missing, damaged, or holds anything that is not a tensor where weights should be.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: expected a file of weights, got: {first}; save the state_dict alone") from error
    except (AssertionError, AttributeError, IndexError, KeyError, OverflowError, TypeError, MemoryError) as error:
        # What a damaged file makes torch's restricted unpickler stumble over.
        raise InputError(f"{path}: expected a file of weights, got a damaged one ({type(error).__name__})") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(each, Tensor) for each in content.values()):
        raise InputError(
            f"{path}: expected named tensors, got {type(content).__name__} with other things; save the state_dict alone"
        )
    entries = {str(name): tensor for name, tensor in content.items()}
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in entries):
            entries = {name.removeprefix(prefix): tensor for name, tensor in entries.items()}
    return entries


def read_metadata(path: Path) -> dict[str, str]:
    """Read the texts beside the tensors of a safetensors file; a torch file has none.

    Raises:
        InputError: If the file is damaged.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: expected a safetensors file, got: {error}; the file is damaged") from error
