"""The files that an ONNX model consists of: the graph, and the weights that it keeps in files of their own."""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from facexfer.errors import InputError
from facexfer.files.digest import file_digest

_LARGEST = (1 << 31) - 1


def read_onnx(path: Path) -> Any:
    """Read an ONNX file without its external weights, after a look whether those are all there.

    Args:
        path: The file.

    Returns:
        The model.

    Raises:
        InputError: If it is missing or damaged, or names a file next to it that is missing, too short or in another
            folder.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(
                f"{path}: expected an ONNX model below 2 GB, got more; keep its weights in a file of their own"
            )
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: expected a readable ONNX file, got: {error}; check the path") from error
    except (DecodeError, ValueError, MemoryError) as error:
        first = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(
            f"{path}: expected an ONNX model, got: {first}; the file is damaged or is not an ONNX file"
        ) from error
    for tensor in _external_tensors(model):
        _check(path, tensor)
    return model


def onnx_parts(path: Path, model: Any = None) -> tuple[Path, ...]:
    """The files next to an ONNX model that hold its weights, by name; empty for a model in one file.

    Args:
        path: The file.
        model: What `read_onnx` gave for it, where it has been read already.

    Raises:
        InputError: As `read_onnx`.
    """
    names = {_facts(tensor)["location"] for tensor in _external_tensors(model or read_onnx(path))}
    return tuple(path.parent / name for name in sorted(names))


def onnx_digest(path: Path, model: Any = None) -> str:
    """SHA-256 of a model, in hex: of the file, or of the file's and its parts' digests where its weights are external.

    Args:
        path: The file.
        model: What `read_onnx` gave for it, where it has been read already.

    Raises:
        InputError: As `read_onnx`.
    """
    parts = onnx_parts(path, model)
    if not parts:
        return file_digest(path)
    digests = [file_digest(path), *(f"{part.name} {file_digest(part)}" for part in parts)]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _external_tensors(model: Any) -> Iterator[Any]:
    yield from (each for each in _tensors(model.graph) if each.data_location == onnx.TensorProto.EXTERNAL)
    for function in model.functions:
        yield from (each for each in _attributes(function.node) if each.data_location == onnx.TensorProto.EXTERNAL)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _attributes(graph.node)


def _attributes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)
            for graph in attribute.graphs:
                yield from _tensors(graph)


def _facts(tensor: Any) -> dict[str, str]:
    return {"location": "", "offset": "0", "length": "0", **{each.key: each.value for each in tensor.external_data}}


def _check(path: Path, tensor: Any) -> None:
    facts = _facts(tensor)
    name = facts["location"]
    file = path.parent / name
    try:
        inside = bool(name) and not PureWindowsPath(name).drive and not Path(name).is_absolute()
        inside = inside and file.resolve().is_relative_to(path.parent.resolve())
        if not inside:
            raise InputError(f"{path}: expected weights in its own folder, got {name!r}; save it as one file")
        if not file.is_file():
            raise InputError(f"{path}: expected its weights in {name} next to it, found none; copy both files")
        needed, size = int(facts["offset"]) + int(facts["length"]), file.stat().st_size
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: expected weights in a file next to it, got {name!r}: {error}; copy it again"
        ) from error
    if int(facts["offset"]) < 0 or int(facts["length"]) < 0 or needed > size:
        raise InputError(f"{path}: expected {needed:,} bytes of weights in {name}, got {size:,}; copy both files again")
