"""Files that add the embedding of the mirrored image."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from arcface_export import give_statistics
from onnx import helper

from facexfer.backbones import create_backbone
from facexfer.backbones.checkpoints.onnx_flip import without_flip
from facexfer.backbones.checkpoints.onnx_graph import GraphNode
from facexfer.backbones.identify import identify
from facexfer.deploy.onnx_export import export_onnx
from facexfer.measure.embedder import load

# Of the older exporter, for operators below 18.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SMALL = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"
CROPS = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return give_statistics(create_backbone(SMALL))


@pytest.mark.parametrize(("opset", "batch"), [(None, None), (17, None), (12, 1)])
def test_the_mirrored_image_inside_is_named_evaluated_and_left_out_of_training(
    network, opset, batch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "both.onnx"
    export_onnx(network, file, opset, batch, flip=True)
    facts = identify(file)
    assert facts.network == SMALL
    assert "adds the embedding of the mirrored image" in facts.remark
    both = load(network, flip=True).embed(CROPS)
    scale = np.abs(both).max()
    np.testing.assert_allclose(load(file).embed(CROPS), both, atol=1e-5 * scale)
    capsys.readouterr()
    np.testing.assert_allclose(load(file, SMALL).embed(CROPS), load(network).embed(CROPS), atol=1e-4 * scale)
    np.testing.assert_allclose(load(file, SMALL, flip=True).embed(CROPS), both, atol=1e-4 * scale)
    assert "of the original, without the mirrored image that it adds (--flip does)" in capsys.readouterr().err


def test_another_sum_at_the_end_stays(network, tmp_path: Path) -> None:
    file = tmp_path / "other.onnx"
    export_onnx(network, file, 17)
    proto = onnx.load(file)
    proto.graph.node.append(helper.make_node("Add", ["embedding", "embedding"], ["twice"]))
    proto.graph.output[0].name = "twice"
    onnx.save(proto, file)
    assert identify(file).network is None


def test_a_network_that_slices_its_own_maps_is_known_for_old_operators(tmp_path: Path) -> None:
    file = tmp_path / "both.onnx"
    export_onnx(create_backbone("edgeface_xxs").eval(), file, 11, 1, flip=True)
    facts = identify(file)
    assert facts.network == "edgeface_xxs"
    assert facts.remark == "adds the embedding of the mirrored image"


def half(start: str, name: str) -> dict[str, GraphNode]:
    """A convolution and a slice of its map."""
    return {
        f"{name}_map": GraphNode("conv", name, (start,)),
        name: GraphNode("Slice", name, (f"{name}_map",)),
    }


@pytest.mark.parametrize("bgr", [False, True])
def test_the_mirrored_half_is_the_one_that_slices_the_image_once_more(bgr: bool) -> None:
    colours = {"colours": GraphNode("Slice", "", ("input",))} if bgr else {}
    image = {**colours, "image": GraphNode("affine", "", ("colours" if bgr else "input",))}
    mirror = {"mirror": GraphNode("Slice", "", ("image",))}
    plain, mirrored = half("image", "plain"), half("mirror", "mirrored")
    for inputs in (("plain", "mirrored"), ("mirrored", "plain")):
        nodes = image | mirror | plain | mirrored | {"sum": GraphNode("add", "", inputs)}
        assert without_flip(nodes, "sum") == (image | plain, "plain")
    # Two parts of a network, one of which slices its map.
    second = {"second": GraphNode("conv", "", ("image",))}
    nodes = image | plain | second | {"sum": GraphNode("add", "", ("plain", "second"))}
    assert without_flip(nodes, "sum") == (nodes, "sum")
