"""What libraries raise at the boundary of every command ends in one line and a status, never in a traceback."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import PIL.Image
import pytest
import torch
from command_line import status_of
from onnxruntime.capi import onnxruntime_pybind11_state as ort
from small_faces import write_small_set

from facexfer.backbones import create_backbone
from facexfer.deploy.onnx_export import export_onnx

NETWORK = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"
RECIPE = """
[source]
backbone = "{network}"
weights = "{weights}"
[data]
manifest = "{manifest}"
[method]
name = "l2"
[optimizer]
iterations = 1
batch_size = 8
[evaluation]
untouched = false
[runtime]
accelerator = "cpu"
"""
ANYWHERE = [MemoryError(), OSError(5, "Input/output error"), PermissionError(13, "Permission denied")]
OF_PILLOW = [
    *ANYWHERE,
    PIL.UnidentifiedImageError("cannot identify image file"),
    PIL.Image.DecompressionBombError("Image size (400000000 pixels) exceeds limit"),
    SyntaxError("broken PNG file"),
    ValueError("unrecognized image mode"),
]
OF_ONNXRUNTIME = [
    *ANYWHERE,
    ort.Fail("[ONNXRuntimeError] : 1 : FAIL : Load model failed"),
    ort.InvalidArgument("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Unexpected input data type"),
    ort.InvalidProtobuf("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Protobuf parsing failed"),
    ort.InvalidGraph("[ONNXRuntimeError] : 10 : INVALID_GRAPH : This is an invalid model"),
    ort.NotImplemented("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation"),
    ort.RuntimeException("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code"),
]
OF_TORCH = [
    *ANYWHERE,
    pickle.UnpicklingError("invalid load key"),
    EOFError("Ran out of input"),
    RuntimeError("PytorchStreamReader failed reading zip archive"),
    KeyError("storages"),
    UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal not in range(128)"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boundaries")
    manifest = write_small_set(folder / "faces", train=3, val=3, images=3, modalities=("nir",))
    torch.manual_seed(0)
    network = create_backbone(NETWORK)
    torch.save(network.state_dict(), folder / "weights.pth")
    export_onnx(network, folder / "model.onnx", opset=17)
    recipe = RECIPE.format(network=NETWORK, weights=folder / "weights.pth", manifest=manifest)
    (folder / "recipe.toml").write_text(recipe)
    return folder


def command_line(name: str, files: Path, out: Path) -> list[object]:
    data = ["--manifest", files / "faces/images.csv", "--probe", "nir", "--far", "0.2"]
    return {
        "evaluate ONNX": ["evaluate", "--model", files / "model.onnx", *data],
        "evaluate weights": ["evaluate", "--model", files / "weights.pth", "--backbone", NETWORK, *data],
        "inspect": ["inspect", files / "weights.pth"],
        "train": ["train", files / "recipe.toml", "--out", out / "run"],
        "prepare": ["prepare", files / "faces/nir", "--layout", "folders", "--pre-cropped", "--out", out / "crops"],
        "export": ["export", "--model", files / "weights.pth", "--backbone", NETWORK, "--out", out / "model.onnx"],
    }[name]


def raising(error) -> Callable[..., Any]:
    def fail(*_: object, **__: Any) -> None:
        raise error

    return fail


def cases():
    for name in ("evaluate ONNX", "train", "prepare"):
        yield from ((name, PIL.Image, "open", error) for error in OF_PILLOW)
    yield from (("evaluate ONNX", onnxruntime, "InferenceSession", error) for error in OF_ONNXRUNTIME)
    for name in ("evaluate weights", "inspect", "train", "export"):
        yield from ((name, torch, "load", error) for error in OF_TORCH)


@pytest.mark.parametrize(
    ("name", "owner", "attribute", "error"),
    [pytest.param(*case, id=f"{case[0]}-{case[2]}-{type(case[3]).__name__}") for case in cases()],
)
def test_an_error_at_a_boundary_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: Path,
    tmp_path: Path,
    name: str,
    owner,
    attribute: str,
    error,
) -> None:
    monkeypatch.setattr(owner, attribute, raising(error))
    status = status_of(monkeypatch, command_line(name, files, tmp_path))
    said = capsys.readouterr().err
    assert status in (1, 2)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert said.splitlines()[-1:] == errors
    assert "Traceback" not in said
    assert not list(tmp_path.glob("**/*.onnx"))


@pytest.mark.parametrize(
    ("name", "owner", "attribute"),
    [
        ("evaluate ONNX", PIL.Image, "open"),
        ("evaluate ONNX", onnxruntime, "InferenceSession"),
        ("evaluate weights", torch, "load"),
        ("prepare", PIL.Image, "open"),
        ("train", torch, "load"),
    ],
)
def test_ctrl_c_at_a_boundary_is_status_130_and_says_at_most_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: Path,
    tmp_path: Path,
    name: str,
    owner,
    attribute: str,
) -> None:
    monkeypatch.setattr(owner, attribute, raising(KeyboardInterrupt()))
    status = status_of(monkeypatch, command_line(name, files, tmp_path))
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert status == 130
    if name == "prepare":
        (line,) = errors
        assert re.fullmatch(r"error: stopped after 0 of \d+ photos; run the same command again to continue", line)
    else:
        assert errors == []


def test_a_pipe_in_the_place_of_a_picture_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It would be waited for without end."""
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "images.csv").write_text("path,identity,modality,split\na.png,p1,nir,val\n")
    torch.save(create_backbone(NETWORK).state_dict(), tmp_path / "weights.pth")
    words = ["--model", tmp_path / "weights.pth", "--backbone", NETWORK, "--manifest", tmp_path / "images.csv"]
    status = status_of(monkeypatch, ["evaluate", *words])
    said = capsys.readouterr().err
    assert status == 2
    assert "a.png: expected a readable image, got a folder or the like" in said
