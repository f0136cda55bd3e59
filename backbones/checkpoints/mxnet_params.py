"""Read MXNet's ``.params`` files without mxnet.

The layout (``src/ndarray/ndarray.cc``), little-endian: 8 bytes magic 0x112, 8 reserved, the number of arrays (uint64),
the arrays, the number of names (uint64), each name as its length (uint64) and bytes. Four forms of array exist:

* legacy: number of dimensions (uint32), each dimension uint32;
* V1, magic 0xF993FAC8: number of dimensions (uint32), each int64;
* V2, magic 0xF993FAC9: storage type (int32), then as V1;
* V3, magic 0xF993FACA: storage type (int32), number of dimensions (int32, -1 if unknown), each int64;

followed in each form by device type and number (2 x int32), data type (int32) and the values. Every length is checked
against what is left of the file before anything is allocated.
"""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.errors import InputError

_LIST_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE = 0
_TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"), 1: np.dtype("<f8"), 2: np.dtype("<f2"), 3: np.dtype("u1"), 4: np.dtype("<i4"),
    5: np.dtype("i1"), 6: np.dtype("<i8"), 7: np.dtype("?"),
}  # fmt: skip
_MAX_DIMENSIONS = 32
_MAX_NAME = 4096


def read_mxnet_params(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a ``.params`` file.

    Args:
        path: The file.

    Returns:
        Name -> array, of the type as stored: weights are floats, an optimizer's counters may be whole numbers. The
        prefixes ``arg:`` and ``aux:`` are taken off.

    Raises:
        InputError: If the file is missing, truncated, longer than its contents, not dense, of another data type, or
            not in this format; the error names the place in the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a readable MXNet .params file, got: {error}; check the path") from error
    reader = _Reader(path, data)
    magic, _reserved = reader.unpack("QQ", "list header")
    if magic != _LIST_MAGIC:
        raise reader.error(f"expected MXNet's magic number 0x112, got {magic:#x}; is it a .params file?")
    # An array takes 4 bytes at the least, a name 8.
    arrays = [_read_array(reader, index) for index in range(reader.count("arrays", smallest=4))]
    names = [_read_name(reader, index) for index in range(reader.count("names", smallest=8))]
    if len(names) != len(arrays):
        raise reader.error(f"expected a name for each of {len(arrays)} arrays, got {len(names)} names")
    if len(set(names)) != len(names):
        raise reader.error(f"expected distinct names, got '{_first_repeated(names)}' twice")
    if reader.left:
        raise reader.error(f"expected the end of the file, got {reader.left} more bytes")
    return dict(zip(names, arrays, strict=True))


class _Reader:
    """A position in the file's bytes that never passes their end."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.data = data
        self.position = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def error(self, message: str) -> InputError:
        return InputError(f"{self.path}, byte {self.position}: {message}")

    def take(self, length: int, what: str) -> int:
        """Step over ``length`` bytes and give where they start."""
        if length > self.left:
            raise self.error(
                f"expected {length} bytes of {what}, {self.left} are left; the file is truncated or damaged"
            )
        start = self.position
        self.position += length
        return start

    def unpack(self, form: str, what: str) -> tuple[int, ...]:
        start = self.take(struct.calcsize(f"<{form}"), what)
        return struct.unpack_from(f"<{form}", self.data, start)

    def count(self, what: str, smallest: int) -> int:
        (count,) = self.unpack("Q", f"number of {what}")
        if count * smallest > self.left:
            raise self.error(f"expected at most {self.left // smallest} {what} in what is left, got {count}")
        return count


def _read_array(reader: _Reader, index: int) -> np.ndarray:
    shape = _read_shape(reader, index)
    if not shape:
        return np.zeros(0, np.float32)
    reader.unpack("ii", f"device of array {index}")
    (kind,) = reader.unpack("i", f"data type of array {index}")
    if kind not in _TYPES:
        raise reader.error(f"array {index}: expected data type 0 to 7 (floats and whole numbers), got {kind}")
    dtype = _TYPES[kind]
    # Python's integers do not overflow, so a hostile shape cannot come out small.
    elements = math.prod(shape)
    start = reader.take(elements * dtype.itemsize, f"values of array {index}")
    values: np.ndarray = np.frombuffer(reader.data, dtype, elements, start)
    try:
        return values.reshape(shape).copy()
    except ValueError as error:
        raise reader.error(f"array {index}: expected a shape that an array can have, got {shape}") from error


def _read_shape(reader: _Reader, index: int) -> tuple[int, ...]:
    (magic,) = reader.unpack("I", f"head of array {index}")
    if magic in (_V2, _V3):
        (storage,) = reader.unpack("i", f"storage type of array {index}")
        if storage != _DENSE:
            raise reader.error(f"array {index}: expected dense storage (0), got {storage}; save it dense")
    what = f"shape of array {index}"
    dimensions = magic if magic not in (_V1, _V2, _V3) else reader.unpack("i" if magic == _V3 else "I", what)[0]
    if not 0 <= dimensions <= _MAX_DIMENSIONS:
        raise reader.error(f"array {index}: expected 0 to {_MAX_DIMENSIONS} dimensions, got {dimensions}")
    shape = reader.unpack(f"{dimensions}{'q' if magic in (_V1, _V2, _V3) else 'I'}", what)
    if any(length < 0 for length in shape):
        raise reader.error(f"array {index}: expected dimensions of 0 or more, got {shape}")
    return shape


def _read_name(reader: _Reader, index: int) -> str:
    (length,) = reader.unpack("Q", f"length of name {index}")
    if length > _MAX_NAME:
        raise reader.error(f"name {index}: expected at most {_MAX_NAME} bytes, got {length}")
    start = reader.take(length, f"name {index}")
    try:
        name = reader.data[start : start + length].decode("utf-8")
    except UnicodeDecodeError as error:
        raise reader.error(f"name {index}: expected UTF-8 text, got other bytes") from error
    return name.removeprefix("arg:").removeprefix("aux:")


def _first_repeated(names: list[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    raise AssertionError("no name is repeated")
