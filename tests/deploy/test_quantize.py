"""Eight bits: convolutions around a map with a few far values stay in float32."""

import copy
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from arcface_export import give_statistics

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.info import BackboneModule
from facexfer.deploy import quantize
from facexfer.deploy.onnx_export import export_onnx
from facexfer.deploy.quantize import rounding_noise, write_precision
from facexfer.deploy.runtimes.runtime import LARGEST_NOISE
from facexfer.errors import InputError
from facexfer.measure.embedder import OnnxEmbedder


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (16, 14, 14, 3), dtype=np.uint8)
    return np.stack([cv2.resize(each, (112, 112), interpolation=cv2.INTER_CUBIC) for each in small])


@pytest.fixture(scope="module")
def network() -> BackboneModule:
    torch.manual_seed(0)
    return give_statistics(create_backbone("mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=64)"))


def distance(first: Path, second: Path, crops: np.ndarray) -> float:
    one, other = (OnnxEmbedder(path).embed(crops) for path in (first, second))
    units = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (one, other))
    return float(np.linalg.norm(np.subtract(*units), axis=1).max())


@pytest.mark.slow
def test_far_values_keep_their_convolutions_in_float(
    network: BackboneModule, crops: np.ndarray, tmp_path: Path
) -> None:
    export_onnx(network, tmp_path / "fp32.onnx", opset=17)
    before = rounding_noise(tmp_path / "fp32.onnx", crops)
    changed: Any = copy.deepcopy(network)
    norm = changed.conv_sep.layers[1]
    with torch.no_grad():
        norm.weight[3] *= 500
        norm.bias[3] += 500
    export_onnx(changed, tmp_path / "fp32.onnx", opset=17)
    noise = rounding_noise(tmp_path / "fp32.onnx", crops)
    # The convolution that makes the far values, and the one that takes them.
    loud = ["/backbone/conv_sep/layers/layers.0/Conv", "/backbone/features/layers/layers.0/layers/layers.0/Conv"]
    assert before[loud[0]] < 0.1
    assert all(noise[name] > 0.9 for name in loud)
    assert all(0 <= share <= 1 for share in noise.values())
    write_precision("int8", tmp_path / "fp32.onnx", tmp_path / "int8.onnx", lambda: crops)
    proto = onnx.load(tmp_path / "int8.onnx")
    constants = {each.name for each in proto.graph.initializer}
    in_float = {node.name for node in proto.graph.node if node.op_type == "Conv" and node.input[1] in constants}
    assert (
        set(loud)
        <= in_float
        == {
            name
            for name, share in noise.items()
            if share > LARGEST_NOISE and "Gemm" not in name and "MatMul" not in name
        }
    )
    assert distance(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", crops) < 0.25


def test_constant_channels_keep_nothing_in_float(crops: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 64, 1)
    with torch.no_grad():
        convolution.weight[5] = 0
    pooled = torch.nn.Sequential(convolution, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    small = create_backbone(pooled, input_size=(112, 112), mean=127.5, scale=1 / 127.5)
    export_onnx(small, tmp_path / "fp32.onnx", opset=17)
    (share,) = rounding_noise(tmp_path / "fp32.onnx", crops).values()
    assert 0 < share < LARGEST_NOISE < 1 / 64


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic"])
def test_a_file_in_which_nothing_would_be_int8_is_refused(
    crops: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    convolution = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 112), torch.nn.Flatten())
    small = create_backbone(convolution, input_size=(112, 112), mean=127.5, scale=1 / 127.5)
    export_onnx(small, tmp_path / "fp32.onnx", opset=17)
    monkeypatch.setattr(quantize, "LARGEST_NOISE", 0.0)
    with pytest.raises(InputError, match=f"expected, for {precision}, a .* got a network without one"):
        write_precision(precision, tmp_path / "fp32.onnx", tmp_path / "m.onnx", lambda: crops)
    assert not (tmp_path / "m.onnx").exists()


def test_other_forms_of_a_fixed_batch(network: BackboneModule, crops: np.ndarray, tmp_path: Path) -> None:
    before = logging.getLogger().level
    export_onnx(network, tmp_path / "fp32.onnx", opset=17, batch=3)
    for precision, limit in (("fp32", 1e-6), ("fp16", 1e-2), ("int8", 0.25), ("int8-dynamic", 0.25)):
        write_precision(precision, tmp_path / "fp32.onnx", tmp_path / "m.onnx", lambda: crops)
        assert distance(tmp_path / "fp32.onnx", tmp_path / "m.onnx", crops) < limit
    # What the caller's program logs is not to be silenced.
    assert logging.getLogger().level == before


@pytest.mark.parametrize("opset", [11, 13])
def test_eight_bits_below_opset_13_have_one_scale_a_layer(
    network: BackboneModule, crops: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str], opset: int
) -> None:
    export_onnx(network, tmp_path / "fp32.onnx", opset=opset)
    write_precision("int8", tmp_path / "fp32.onnx", tmp_path / "int8.onnx", lambda: crops)
    proto = onnx.load(tmp_path / "int8.onnx")
    tensors = {each.name: each for each in proto.graph.initializer}
    int8 = {name for name, each in tensors.items() if each.data_type == onnx.TensorProto.INT8 and len(each.dims) > 1}
    nodes = [node for node in proto.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in int8]
    scales = {len(tensors[node.input[1]].dims) for node in nodes}
    assert (0 in scales) == (opset < 13)
    assert proto.ir_version <= 8
    assert ("one scale per layer" in capsys.readouterr().err) == (opset < 13)
    assert distance(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", crops) < 0.25
