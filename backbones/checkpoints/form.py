"""The form of a file of weights, from its content; its name does not matter."""

import json
from pathlib import Path
from typing import Literal, TypeAlias

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from facexfer.errors import InputError

Form: TypeAlias = Literal["mxnet", "symbol", "safetensors", "torch zip", "torch legacy", "onnx"]
"""MXNet's arrays or its graph, safetensors, torch's file since 1.6 (a zip) or before (a pickle), ONNX."""

_MXNET = (0x112).to_bytes(8, "little")
_LARGEST_TRIAL = 1 << 31
# What stands where weights were to be, and what to do about it.
_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with git lfs pull",
    b"<!doctype html": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"\xfd7zxz": "an xz archive; unpack it first",
    b"\x89hdf": "an HDF5 file of Keras; convert it to ONNX first",
    b"\x93numpy": "a NumPy array; save named tensors with torch or safetensors",
}
_TAR = slice(257, 262)


def file_form(path: Path) -> Form:
    """The form of a file of weights.

    Args:
        path: The file.

    Returns:
        Its form.

    Raises:
        InputError: If it cannot be read, or has none of the forms.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
            size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a readable file of weights, got: {error}; check the path") from error
    # safetensors first: the length of its heading may begin like any other form.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    if head.startswith(_MXNET):
        return "mxnet"
    if head.startswith(b"PK\x03\x04"):
        return "torch zip"
    if head[:1] == b"\x80" and 2 <= int.from_bytes(head[1:2]) <= 5:
        return "torch legacy"
    if head.lstrip()[:1] == b"{":
        return "symbol"
    if head[:1] == b"\x08" or (path.suffix.lower() == ".onnx" and size) or _is_onnx(path, size):
        return "onnx"
    other = next((what for start, what in _OTHERS.items() if head.lstrip().lower().startswith(start)), "")
    other = "a tar archive; unpack it first" if head[_TAR] == b"ustar" else other
    raise InputError(
        f"{path}: expected weights (MXNet .params, torch, safetensors) or an ONNX file, got "
        f"{other or ('none of them; check the file' if size else 'an empty file; copy it again')}"
    )


def read_symbol(path: Path) -> tuple[set[str], int]:
    """Read an MXNet symbol: the names of its arrays and the number of its operators.

    Raises:
        InputError: If it is other JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = {node["name"] for node in content["nodes"] if node["op"] == "null"}
        return names, sum(node["op"] != "null" for node in content["nodes"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: expected an MXNet symbol, got other JSON ({type(error).__name__})") from error


def _is_onnx(path: Path, size: int) -> bool:
    """Try: the fields of an ONNX file may come in any order."""
    if not 0 < size < _LARGEST_TRIAL:
        return False
    try:
        return len(onnx.load_model_from_string(path.read_bytes()).graph.node) > 0
    except (DecodeError, OSError, MemoryError, ValueError):
        return False
