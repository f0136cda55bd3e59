"""Files of strangers that divide embeddings by their length, or take images with the channels last."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from arcface_export import give_statistics
from onnx import TensorProto, helper
from torch import nn
from torch.nn import functional as F

from facexfer.backbones import create_backbone
from facexfer.backbones.identify import identify
from facexfer.deploy.onnx_export import PixelsToEmbedding
from facexfer.measure.embedder import load

# Of the older exporter, which is what strangers use.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SMALL = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"
CROPS = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)


class UnitLength(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.network(images))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PixelsToEmbedding(give_statistics(create_backbone(SMALL))).eval()


@pytest.fixture(scope="module")
def embeddings(network) -> np.ndarray:
    with torch.no_grad():
        made = network(torch.from_numpy(CROPS).permute(0, 3, 1, 2).float())
    return np.asarray(made.numpy())


def export(network: nn.Module, path: Path) -> onnx.ModelProto:
    torch.onnx.export(
        network, (torch.zeros(1, 3, 112, 112),), path, input_names=["x"], output_names=["y"], opset_version=17,
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, dynamo=False,
    )  # fmt: skip
    return onnx.load(path)


def divided(proto: onnx.ModelProto, form: str) -> None:
    """Let a file divide its embeddings by their length."""
    nodes = {
        "LpNormalization": [helper.make_node("LpNormalization", ["y"], ["unit"], axis=1, p=2)],
        "ReduceL2": [
            helper.make_node("ReduceL2", ["y"], ["length"], axes=[1], keepdims=1),
            helper.make_node("Div", ["y", "length"], ["unit"]),
        ],
    }[form]
    proto.graph.node.extend(nodes)
    proto.graph.output[0].name = "unit"


@pytest.mark.parametrize("form", ["LpNormalization", "ReduceL2", "F.normalize"])
def test_the_length_inside_is_named_evaluated_and_left_out_of_training(
    network, embeddings, form, tmp_path: Path
) -> None:
    file = tmp_path / "unit.onnx"
    proto = export(UnitLength(network) if form == "F.normalize" else network, file)
    if form != "F.normalize":
        divided(proto, form)
        onnx.save(proto, file)
    facts = identify(file)
    assert facts.network == SMALL
    assert "divides embeddings by their length" in facts.remark
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    np.testing.assert_allclose(load(file).embed(CROPS), unit, atol=1e-5)
    np.testing.assert_allclose(load(file, SMALL).embed(CROPS), embeddings, atol=1e-4 * np.abs(embeddings).max())


def test_channels_last_are_named_and_fed(network, embeddings, tmp_path: Path) -> None:
    file = tmp_path / "nhwc.onnx"
    proto = export(network, file)
    proto.graph.node.insert(0, helper.make_node("Transpose", ["images"], ["x"], perm=[0, 3, 1, 2]))
    del proto.graph.input[:]
    proto.graph.input.append(helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 112, 112, 3]))
    onnx.save(proto, file)
    facts = identify(file)
    assert (facts.network, facts.input) == (SMALL, "(N, 112, 112, 3)")
    assert "takes images as NHWC" in facts.remark
    for embedder in (load(file), load(file, SMALL)):
        np.testing.assert_allclose(embedder.embed(CROPS), embeddings, atol=1e-4 * np.abs(embeddings).max())


def test_another_division_stays(network, tmp_path: Path) -> None:
    file = tmp_path / "other.onnx"
    proto = export(network, file)
    proto.graph.node.append(helper.make_node("Div", ["y", "y"], ["ratio"]))
    proto.graph.output[0].name = "ratio"
    onnx.save(proto, file)
    assert identify(file).network is None
