"""Nested training state in one safetensors file: no pickle, written atomically."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, distributed

from facexfer.errors import InputError, RunError
from facexfer.files.atomic import replacing

STATE_FORMAT = "facexfer-state-1"
MADE_AGAIN = "remove the file, it is made again"
"""What to do about damaged files that only save time."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Save nested dictionaries, lists, tuples, numbers, strings and tensors, atomically.

    Args:
        path: The file; while it is written, the old one stays in place.
        state: What to save, e.g. with ``state_dict()`` of modules and optimizers inside.

    Raises:
        RunError: If the file cannot be written, e.g. because the disk is full; the old file is intact.
        TypeError: If something of another type is inside.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _encode(state, tensors)
    metadata = {"format": STATE_FORMAT, "skeleton": json.dumps(skeleton)}
    write_safetensors(path, tensors, metadata)


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors and text atomically.

    Raises:
        RunError: If the file cannot be written; nothing at ``path`` has changed.
    """
    try:
        with replacing(path) as temporary:
            save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, temporary, metadata)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"expected to write {path}, got: {reason}; free some space or check permissions") from error


def load_state(path: Path, otherwise: str = "use an earlier one") -> dict[str, Any]:
    """Load what `save_state` saved.

    Args:
        path: The file.
        otherwise: What the user can do where it is damaged, for the error.

    Raises:
        InputError: If the file is missing, damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != STATE_FORMAT:
                raise InputError(
                    f"{path}: expected a facexfer checkpoint, got another safetensors file; check the path, or "
                    f"{otherwise}"
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: expected a facexfer checkpoint, got: {error}; {otherwise}") from error
    try:
        state: dict[str, Any] = _decode(json.loads(metadata["skeleton"]), tensors)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected a facexfer checkpoint, its skeleton is damaged: {error}; {otherwise}"
        ) from error
    return state


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key = str(len(tensors))
        tensors[key] = value
        return {"tensor": key}
    if isinstance(value, dict):
        return {"dict": [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_encode(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"expected numbers, strings, containers and tensors in a checkpoint, got {type(value).__name__}")


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "tuple" in value:
        return tuple(_decode(item, tensors) for item in value["tuple"])
    return {key: _decode(item, tensors) for key, item in value["dict"]}


def random_state() -> dict[str, Any]:
    """Take the states of torch's random number generators, of the CPU and of every CUDA device."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": list(cuda)}


def all_random_states() -> list[dict[str, Any]]:
    """Take `random_state` of every rank, by rank; each rank must call it."""
    mine = random_state()
    if not distributed.is_initialized():
        return [mine]
    states = [mine] * distributed.get_world_size()
    distributed.all_gather_object(states, mine)
    return states


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` took; CUDA states only where there are as many devices."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
