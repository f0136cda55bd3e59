"""InsightFace's own forms, written here byte for byte as they are published, and with bytes changed."""

import contextlib
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from photo_files import encoded, picture
from shared_data import shared

from facexfer.data.layouts import LAYOUTS, LayoutOptions
from facexfer.data.layouts.array_pickle import read_array_pickle
from facexfer.data.pictures.photos import decode_photo
from facexfer.errors import InputError

JPEG = encoded(picture(), "JPEG")


def record(label: Any, payload: bytes, flag: int = 0) -> bytes:
    labels = struct.pack(f"<{flag}f", *label) if flag else b""
    body = struct.pack("<IfQQ", flag, 0.0 if flag else label, 0, 0) + labels + payload
    return struct.pack("<II", 0xCED7230A, len(body)) + body + b"\0" * (-len(body) % 4)


def write_rec(folder: Path, records: list[bytes]) -> Path:
    offset, lines = 0, []
    with (folder / "train.rec").open("wb") as file:
        for number, data in enumerate(records):
            file.write(data)
            lines.append(f"{number}\t{offset}\n")
            offset += len(data)
    (folder / "train.idx").write_text("".join(lines))
    return folder / "train.rec"


def published(folder: Path) -> Path:
    """Write a header, three pictures of two people, and the two identities' own records."""
    pictures = [record(0.0, JPEG), record((0.0, 7.0), JPEG, flag=2), record(1.0, JPEG)]
    people = [record((1.0, 3.0), b"", flag=2), record((3.0, 4.0), b"", flag=2)]
    return write_rec(folder, [record((4.0, 6.0), b"", flag=2), *pictures, *people])


def test_a_rec_is_read_without_mxnet(tmp_path: Path) -> None:
    published(tmp_path)
    entries = list(LAYOUTS["insightface-rec"](tmp_path, LayoutOptions(modality="vis")))
    assert [(entry.name, entry.identity) for entry in entries] == [
        ("0000000/00000001.jpg", "0000000"), ("0000000/00000002.jpg", "0000000"), ("0000001/00000003.jpg", "0000001"),
    ]  # fmt: skip
    assert all(entry.read().startswith(JPEG) for entry in entries)
    assert decode_photo(entries[1].read()).pixels.shape == (140, 160, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:60], "expected a record"),
        (lambda data: b"\0" * len(data), "is the index of this file"),
        (lambda data: data[:4] + struct.pack("<I", (1 << 29) | 40) + data[8:], "expected a whole record"),
        (lambda data: data[:8] + struct.pack("<I", 99) + data[12:], "expected 99 labels"),
        (lambda data: data[:32] + struct.pack("<f", np.nan) + data[36:], "expected the number of an identity"),
    ],
)
def test_damaged_recs_are_errors(tmp_path: Path, change: Callable[..., Any], message: str) -> None:
    path = published(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=message):
        list(LAYOUTS["insightface-rec"](path, LayoutOptions()))


def test_a_rec_needs_its_index(tmp_path: Path) -> None:
    path = published(tmp_path)
    for line in ("0 zero", f"0 {'9' * 30}", f"{'9' * 5000} 0", "0 -5"):
        path.with_suffix(".idx").write_text(f"{line}\n")
        with pytest.raises(InputError, match="line 1: expected a number and an offset"):
            list(LAYOUTS["insightface-rec"](path, LayoutOptions()))
    path.with_suffix(".idx").unlink()
    with pytest.raises(InputError, match=r"expected its index train\.idx"):
        list(LAYOUTS["insightface-rec"](path, LayoutOptions()))


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_any_changed_rec_is_read_or_an_error(tmp_path_factory: pytest.TempPathFactory, changes) -> None:
    path = published(tmp_path_factory.mktemp("rec"))
    path.write_bytes(changed(path.read_bytes(), changes))
    with contextlib.suppress(InputError):
        for entry in LAYOUTS["insightface-rec"](path, LayoutOptions()):
            entry.read()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_bin_of_any_protocol(tmp_path: Path, protocol: int) -> None:
    array = np.frombuffer(JPEG, dtype=np.uint8)
    pictures = [JPEG, array, array.copy(), np.zeros((20, 20, 3), np.uint8)]
    (tmp_path / "set.bin").write_bytes(pickle.dumps((pictures, [True, False]), protocol=protocol))
    entries = list(LAYOUTS["insightface-bin"](tmp_path / "set.bin", LayoutOptions()))
    assert [entry.identity for entry in entries] == ["pair-000000", "pair-000000", "pair-000001-1", "pair-000001-2"]
    assert [entry.pair for entry in entries] == [(0, True), (0, True), (1, False), (1, False)]
    assert [entry.read() == JPEG for entry in entries] == [True, True, True, False]
    assert decode_photo(entries[3].read()).pixels.shape == (20, 20, 3)


def test_a_published_bin() -> None:
    entries = list(LAYOUTS["insightface-bin"](shared("data/insightface_small_lfw.bin"), LayoutOptions()))
    assert len(entries) == 20
    assert decode_photo(entries[0].read()).pixels.shape == (112, 112, 3)


class Attack:
    def __reduce__(self):
        return print, ("owned",)


@pytest.mark.parametrize(
    "value", [Attack(), ([Attack()], [True]), np.zeros(3), np.array([print], dtype=object), {"a": 1}, {1}, 1.5]
)
@pytest.mark.parametrize("protocol", range(6))
def test_other_objects_are_never_built(capsys: pytest.CaptureFixture[str], value, protocol: int) -> None:
    with pytest.raises(InputError):
        read_array_pickle(pickle.dumps(value, protocol=protocol))
    assert capsys.readouterr().out == ""


def test_a_small_file_does_not_unfold() -> None:
    shared_list = [[b"x"] * 1000] * 1000
    assert len(read_array_pickle(pickle.dumps(([shared_list] * 1000, [])))[0]) == 1000
    # Ten lists of ten lists, thirty times over, as what an array is to be made of: not even an error may print it.
    nested = b"]q\x00" + b"".join(
        b"]q" + bytes([i + 1]) + b"(" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"e" * 1 for i in range(60)
    )
    with pytest.raises(InputError, match="expected arrays of uint8, got "):
        read_array_pickle(b"\x80\x02cnumpy\ndtype\n" + nested + b"\x85R.")
    own: list = []
    own.append(own)
    with pytest.raises(InputError, match="at most 4 deep"):
        read_array_pickle(pickle.dumps(own))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (([JPEG], [True]), "expected two pictures per flag, got 1 and 1"),
        ([JPEG], "a list of pictures and a list of flags"),
        (([JPEG, 3], [True]), "pictures as bytes"),
        (([JPEG, JPEG], [np.ones(3, np.uint8)]), "pictures as bytes"),
        (([np.zeros((20, 20, 7), np.uint8)] * 2, [True]), r"1 or 3 colours, got an array of \(20, 20, 7\)"),
    ],
)
def test_other_sets_are_errors(tmp_path: Path, value, message: str) -> None:
    (tmp_path / "set.bin").write_bytes(pickle.dumps(value))
    with pytest.raises(InputError, match=rf"set\.bin: .*{message}"):
        list(LAYOUTS["insightface-bin"](tmp_path / "set.bin", LayoutOptions()))


PICKLES = [
    pickle.dumps(([b"ab", np.arange(6, dtype=np.uint8).reshape(2, 3)], [True]), protocol=each) for each in range(2, 6)
]


@given(st.sampled_from(PICKLES), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6))
@example(PICKLES[0], [(148, 92)])  # an escape that Python does not know, in a text that names something
def test_any_changed_pickle_is_read_or_an_error(data, changes) -> None:
    with contextlib.suppress(InputError):
        read_array_pickle(changed(data, changes))


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    mutable = bytearray(data)
    for place, value in changes:
        mutable[place % len(mutable)] = value
    return bytes(mutable)
