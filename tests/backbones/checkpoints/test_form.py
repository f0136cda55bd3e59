"""The form of a file is seen from what is in it, and what is no weights is called by its name."""

from pathlib import Path

import pytest
from mxnet_files import params_bytes

from facexfer.backbones.checkpoints.form import file_form
from facexfer.errors import InputError


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (params_bytes({}), "mxnet"),
        (b'{"nodes": []}', "symbol"),
        (b"PK\x03\x04rest", "torch zip"),
        (b"\x80\x02rest", "torch legacy"),
        (b"\x08\x07rest", "onnx"),
        # The length of safetensors' heading may begin like a pickle, like MXNet's number and like ONNX.
        ((0x0280).to_bytes(8, "little") + b"{" + bytes(0x0280), "safetensors"),
        ((0x0112).to_bytes(8, "little") + b"{" + bytes(0x0112), "safetensors"),
        ((0x0108).to_bytes(8, "little") + b"{" + bytes(0x0108), "safetensors"),
    ],
)
@pytest.mark.parametrize("name", ["w.bin", "w", "W.PTH", "w.params"])
def test_forms(tmp_path: Path, head: bytes, form: str, name: str) -> None:
    (tmp_path / name).write_bytes(head)
    assert file_form(tmp_path / name) == form


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "got an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "got a Git LFS pointer; fetch"),
        (b"<!DOCTYPE html><html>", "got a web page"),
        (b"\x1f\x8b\x08\x00", "got a gzip archive; unpack"),
        (b"name".ljust(257, b"\0") + b"ustar\0", "got a tar archive; unpack"),
        (b"some text", "got none of them"),
    ],
)
def test_what_is_no_weights_is_called_by_its_name(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "w.pth").write_bytes(data)
    with pytest.raises(InputError, match=rf"w\.pth: expected weights .* {message}"):
        file_form(tmp_path / "w.pth")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="expected a readable file of weights, got: "):
            file_form(path)
