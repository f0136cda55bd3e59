"""Read torch and safetensors files; nothing in them is ever run."""

import argparse
import pickle
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from facexfer.backbones.checkpoints.containers import (
    adapt,
    choose_weights,
    fitting_weights,
    nearest_weights,
    tensor_groups,
)
from facexfer.backbones.checkpoints.form import file_form
from facexfer.backbones.checkpoints.loading import load_entries
from facexfer.backbones.parts.info import BackboneModule
from facexfer.errors import InputError

# What training scripts save with the weights and what does nothing when it is made: settings, and single numbers.
_SCALAR: Any = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    *{type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")},
]
# What torch, safetensors and zip raise over a damaged file. AssertionError and the like come from torch's unpickler.
_DAMAGE = (
    OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, AssertionError,
    AttributeError, LookupError, OverflowError, TypeError, MemoryError, ImportError, struct.error,
)  # fmt: skip
_UNSAFE = re.compile(r"GLOBAL (\S+)|Unsupported class (\S+)|loading (\S+) from")


def load_torch(network: BackboneModule, path: Path) -> str:
    """Fill a network from a torch or safetensors file with the network's names in it.

    Args:
        network: What is filled.
        path: The file; dictionaries around the weights, a part that leads all names, and what is saved with them do not
            matter: see `facexfer.backbones.checkpoints.containers`.

    Returns:
        Where the weights were and what was left out, as a line; empty where there is nothing to say.

    Raises:
        InputError: If the file is damaged, requires code to be run, an entry does not fit, or several sets do.
    """
    groups = tensor_groups(read_content(path))
    found = fitting_weights(network, groups)
    if not found:
        nearest = nearest_weights(network, groups)
        if nearest is None:
            raise InputError(f"{path}: expected named tensors, got none; save the state_dict")
        load_entries(network, adapt(network, nearest.entries), str(path))
    try:
        chosen = choose_weights(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    load_entries(network, adapt(network, chosen.entries, keep=True), str(path))
    return chosen.said()


def read_content(path: Path) -> Any:
    """Read what a torch or safetensors file holds, by its content and not by its name.

    Args:
        path: The file.

    Returns:
        What was saved: tensors, and what stands around them.

    Raises:
        InputError: If the file is missing, damaged, or requires code to be run.
    """
    form = file_form(path)
    try:
        if form == "safetensors":
            return load_file(path)
        # torch warns of what it then refuses.
        with warnings.catch_warnings(), torch.serialization.safe_globals(_HARMLESS):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        unsafe = _UNSAFE.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if unsafe is not None:
            name = next(each for each in unsafe.groups() if each)
            raise InputError(
                f"{path}: expected tensors and plain values, got an object of {name.rstrip('.,')}, which would run "
                "code when read; save the state_dict alone"
            ) from error
        first = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise InputError(
            f"{path}: expected a file of weights, got a damaged file or one without weights ({first}); "
            "save the state_dict alone"
        ) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Read the texts that come with the tensors of a safetensors file; a torch file has none.

    Raises:
        InputError: If the file is damaged.
    """
    if file_form(path) != "safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except (OSError, SafetensorError, MemoryError) as error:
        raise InputError(f"{path}: expected a safetensors file, got: {error}; the file is damaged") from error
