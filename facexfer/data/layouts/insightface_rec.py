"""InsightFace's training sets: MXNet RecordIO, read without mxnet."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from facexfer.data.layouts.entry import LayoutOptions, PhotoEntry, register_layout
from facexfer.errors import InputError

_MAGIC = 0xCED7230A
_HEADER = struct.Struct("<IfQQ")
_LENGTH_BITS = 29
# More digits than any file has bytes are no place in it.
_NUMBER = re.compile("[0-9]{1,18}")


@register_layout("insightface-rec", reads=("modality",))
def insightface_rec(root: Path, options: LayoutOptions) -> Iterator[PhotoEntry]:
    """List ``train.rec`` by ``train.idx``: identity headers first, then photos with an identity as label.

    Record 0 tells where the identities' own records begin; those hold no photo and are passed over. A record is
    checked against the file before it is read.

    Args:
        root: The ``.rec`` file, or the folder with one.
        options: The modality.

    Yields:
        One entry per photo, with the place of its bytes in the file.

    Raises:
        InputError: If a file is missing or damaged, or a record is split over several parts.
    """
    record_file = _find(root)
    index_file = record_file.with_suffix(".idx")
    size = record_file.stat().st_size
    offsets = _read_index(index_file)
    if not offsets:
        raise InputError(f"{index_file}: expected lines of number and offset, got none; copy the file again")
    with record_file.open("rb") as file:
        first = min(offsets)
        flag, label, _, _ = _read_record(file, offsets[first], size, record_file)
        # With a header record its label is the number of the first identity record.
        last = _number(label, record_file) if first == 0 and flag > 0 else None
        for number in sorted(offsets):
            if (number == first and last is not None) or (last is not None and number >= last):
                continue
            _, label, start, length = _read_record(file, offsets[number], size, record_file)
            identity = f"{_number(label, record_file):07d}"
            yield PhotoEntry(
                f"{identity}/{number:08d}.jpg", record_file, identity, options.modality, span=(start, length),
                problem=None if length else ("empty-file", "the record holds no picture"),
            )  # fmt: skip


def _number(label: tuple[float, ...], path: Path) -> int:
    if not label or not 0 <= label[0] < 2**53:
        raise InputError(f"{path}: expected the number of an identity as label, got {label!r:.40}; copy the file again")
    return int(label[0])


def _find(root: Path) -> Path:
    files = [root] if root.suffix == ".rec" else sorted(root.glob("*.rec"))
    if len(files) != 1 or not files[0].is_file():
        raise InputError(f"{root}: expected one .rec file, found {len(files)}; name the file")
    if not files[0].with_suffix(".idx").is_file():
        raise InputError(f"{files[0]}: expected its index {files[0].stem}.idx next to it, found none; copy it too")
    return files[0]


def _read_index(path: Path) -> dict[int, int]:
    offsets = {}
    for line, text in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), start=1):
        words = text.split()
        if len(words) != 2 or not all(_NUMBER.fullmatch(word) for word in words):
            raise InputError(f"{path}, line {line}: expected a number and an offset, got '{text[:60]}'")
        offsets[int(words[0])] = int(words[1])
    return offsets


def _read_record(file: BinaryIO, offset: int, size: int, path: Path) -> tuple[int, tuple[float, ...], int, int]:
    """(flag, label, where the photo starts, its length) of the record at an offset."""
    file.seek(offset)
    head = file.read(8 + _HEADER.size)
    if len(head) < 8 + _HEADER.size or offset + 8 > size:
        raise InputError(f"{path}, offset {offset}: expected a record, the file ends at {size}; copy it again")
    magic, length = struct.unpack_from("<II", head)
    part, length = length >> _LENGTH_BITS, length & ((1 << _LENGTH_BITS) - 1)
    if magic != _MAGIC or length < _HEADER.size or offset + 8 + length > size:
        raise InputError(f"{path}, offset {offset}: expected a record, got other bytes; is the index of this file?")
    if part:
        raise InputError(f"{path}, offset {offset}: expected a whole record, got one in parts; pack the set again")
    flag, label, _, _ = _HEADER.unpack_from(head, 8)
    start, rest = offset + 8 + _HEADER.size, length - _HEADER.size
    if flag == 0:
        return 0, (label,), start, rest
    if 4 * flag > rest:
        raise InputError(
            f"{path}, offset {offset}: expected {flag} labels, the record holds {rest} bytes; copy it again"
        )
    labels = struct.unpack(f"<{flag}f", file.read(4 * flag))
    return flag, labels, start + 4 * flag, rest - 4 * flag
