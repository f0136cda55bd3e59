"""The .params reader: every form, and files that lie."""

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mxnet_files import params_bytes

from facexfer.backbones.checkpoints.mxnet_params import read_mxnet_params
from facexfer.errors import InputError

ARRAYS: dict[str, np.ndarray] = {
    "arg:weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "aux:mean": np.array([0.5, -2.0], dtype=np.float16),
    "plain": np.array([[[7.0]]], dtype=np.float32),
}
GOOD = params_bytes(ARRAYS)


def read(tmp_path: Path, data: bytes) -> dict[str, np.ndarray]:
    file = tmp_path / "a.params"
    file.write_bytes(data)
    return read_mxnet_params(file)


@pytest.mark.parametrize("form", ["legacy", "V1", "V2", "V3"])
def test_every_form_is_read(tmp_path: Path, form: str) -> None:
    arrays = read(tmp_path, params_bytes(ARRAYS, form))
    assert list(arrays) == ["weight", "mean", "plain"]
    for array, expected in zip(arrays.values(), ARRAYS.values(), strict=True):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("length", range(0, len(GOOD), 7))
def test_a_truncated_file_is_an_error(tmp_path: Path, length: int) -> None:
    with pytest.raises(InputError, match=r"a\.params, byte \d+: "):
        read(tmp_path, GOOD[:length])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD + b"x", "expected the end of the file, got 1 more bytes"),
        (b"\0" * 64, "expected MXNet's magic number 0x112"),
        (GOOD[:16] + struct.pack("<Q", 2**60) + GOOD[24:], "expected at most .* arrays"),
        (GOOD.replace(struct.pack("<iii", 1, 0, 0), struct.pack("<iii", 1, 0, 12)), "expected data type 0 to 7 .* 12"),
        (GOOD.replace(struct.pack("<Ii", 0xF993FAC9, 0), struct.pack("<Ii", 0xF993FAC9, 1)), "expected dense storage"),
        (GOOD.replace(struct.pack("<qq", 2, 3), struct.pack("<qq", 2**40, 2**40)), "bytes of values of array 0"),
        (GOOD.replace(struct.pack("<qq", 2, 3), struct.pack("<qq", -2, 3)), "dimensions of 0 or more"),
        (GOOD.replace(b"plain", b"\xff\xfe\xff\xfe\xff"), "expected UTF-8 text"),
        (params_bytes({"arg:a": np.zeros(1, np.float32), "aux:a": np.zeros(1, np.float32)}), "'a' twice"),
    ],
)
def test_a_file_that_lies_is_an_error(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, data)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, changes) -> None:
    data = bytearray(GOOD)
    for position, value in changes:
        data[position] = value
    # Any other exception, a crash or a hang fails the test.
    with contextlib.suppress(InputError):
        arrays = read(tmp_path_factory.mktemp("fuzz"), bytes(data))
        assert sum(array.nbytes for array in arrays.values()) <= len(data)
