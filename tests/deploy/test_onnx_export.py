"""The exported file against torch and against InsightFace itself."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from shared_data import shared

import facexfer
from facexfer import create_backbone
from facexfer.data.images import read_crop
from facexfer.deploy import onnx_export
from facexfer.deploy.onnx_export import PixelsToEmbedding, export_onnx, lower_ir_version, onnx_info
from facexfer.deploy.runtimes.fast_prelu import restore_prelu
from facexfer.errors import InputError, RunError
from facexfer.measure.embedder import load

# For the file that they share: the newer exporter takes ten seconds.
pytestmark = pytest.mark.slow
WEIGHTS = "weights/mobilefacenet-mxnet-y1/model-0000.params"
CROPS = ("vis/p0000/000.jpg", "nir/p0000/000.jpg", "nir-mild/p0001/000.jpg")


@pytest.fixture(scope="module")
def network():
    return create_backbone("mobilefacenet", weights=shared(WEIGHTS)).eval()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    assert export_onnx(network, path) <= 1e-4
    return path


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_onnxruntime_equals_torch(network, exported, batch: int) -> None:
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    images = torch.randint(0, 256, (batch, 3, 112, 112)).float()
    with torch.no_grad():
        expected = PixelsToEmbedding(network)(images).numpy()
    (got,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert got.shape == (batch, 128)
    assert np.abs(got - expected).max() < 1e-4


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("crop", CROPS)
def test_insightface_loads_it_and_gives_the_same_embedding(network, exported, crop) -> None:
    from insightface import model_zoo

    image = read_crop(shared("data/lfw-nirsim") / crop)
    model = model_zoo.get_model(str(exported), providers=["CPUExecutionProvider"])
    assert type(model).__name__ == "ArcFaceONNX"
    theirs = model.get_feat(image[:, :, ::-1]).ravel()
    with torch.no_grad():
        ours = PixelsToEmbedding(network)(torch.from_numpy(image).permute(2, 0, 1)[None].float()).numpy().ravel()
    assert theirs @ ours / np.linalg.norm(theirs) / np.linalg.norm(ours) > 0.9999


def test_the_embedders_of_weights_and_file_agree(exported) -> None:
    crops = np.stack([read_crop(shared("data/lfw-nirsim") / crop) for crop in CROPS])
    first = load(shared(WEIGHTS), "mobilefacenet").embed(crops)
    second = load(exported).embed(crops)
    assert first.shape == second.shape == (3, 128)
    assert np.abs(first - second).max() < 1e-4


def test_the_file_knows_its_network(exported) -> None:
    info = onnx_info(onnx.load(exported))
    assert (info["name"], info["embedding_size"], info["color_order"]) == ("mobilefacenet", 128, "RGB")


def test_nothing_that_is_read_or_a_folder_is_written_over(tmp_path: Path) -> None:
    weights = tmp_path / "weights.onnx"
    weights.write_bytes(b"precious")
    (tmp_path / "sub").mkdir()
    with pytest.raises(InputError, match=r"weights\.onnx: expected a new file after --out, got one that the comma"):
        facexfer.export(weights, tmp_path / "sub" / ".." / "weights.onnx", backbone="mbf")
    assert weights.read_bytes() == b"precious"
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match=r"folder\.onnx: expected a file after --out, got a folder"):
        facexfer.export(weights, tmp_path / "folder.onnx", backbone="mbf")


def test_a_file_that_differs_is_not_written(network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "TOLERANCE", 1e-12)
    with pytest.raises(RunError, match="expected onnxruntime within 1e-12 of torch"):
        export_onnx(network, tmp_path / "model.onnx", opset=17)
    assert list(tmp_path.iterdir()) == []


class Own(torch.nn.Module):
    """A network of somebody's own: four means of each channel, and what one likes to do with them."""

    def __init__(self, embed) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(12, 8)
        self.embed = embed

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.embed(self.layer, torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1))


def own_network(embed):
    return create_backbone(Own(embed), mean=127.5, scale=1 / 127.5, input_size=(112, 112))


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_the_length_of_embeddings_does_not_matter(tmp_path: Path, factor: float) -> None:
    assert export_onnx(own_network(lambda layer, x: factor * layer(x)), tmp_path / "model.onnx", opset=17) < 1e-5
    (tmp_path / "model.onnx").unlink()
    # Tracing keeps the branch that it happens to see: embeddings of other images are others.
    branching = own_network(lambda layer, x: factor * layer(x if x.shape[0] == 2 else -x))
    with pytest.raises(RunError, match="expected onnxruntime within 0.0001 of torch"):
        export_onnx(branching, tmp_path / "model.onnx", opset=17)
    assert list(tmp_path.iterdir()) == []


def attention(layer, x):
    tokens = layer(x)[:, None]
    return torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)[:, 0]


@pytest.mark.parametrize(
    ("embed", "opset", "message"),
    [
        (attention, 13, "a network that torch writes as ONNX, got: Exporting the operator .* added in version 14"),
        (lambda layer, x: torch.stack([layer(each) for each in x]), 17, "runs on 1 images at a time.*; try --batch 1"),
    ],
)
def test_a_network_that_cannot_be_written_is_one_line(tmp_path: Path, embed, opset: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        export_onnx(own_network(embed), tmp_path / "model.onnx", opset=opset)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_wants_normalised_pixels_is_no_embedder_by_itself() -> None:
    file = shared("weights/mobilefacenet-relu6.onnx")
    with pytest.raises(InputError, match="expected an ONNX file that normalises pixels itself.* or --backbone NAME"):
        load(file)
    crops = np.stack([read_crop(shared("data/lfw-nirsim") / crop) for crop in CROPS])
    told = load(file, input_mean=[123.675, 116.28, 103.53], input_std=[58.395, 57.12, 57.375]).embed(crops)
    np.testing.assert_allclose(told, load(file, "mobilefacenet_relu6").embed(crops), atol=1e-4)


def test_a_file_of_a_fixed_batch_embeds_any_number_of_crops(exported, tmp_path: Path) -> None:
    proto = onnx.load(exported)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(proto, tmp_path / "fixed.onnx")
    crops = np.stack([read_crop(shared("data/lfw-nirsim") / crop) for crop in CROPS])
    fixed = load(tmp_path / "fixed.onnx").embed(crops)
    assert fixed.shape == (3, 128)
    assert np.abs(fixed - load(exported).embed(crops)).max() < 1e-5


def test_prelu_is_written_in_operators_of_the_fast_layout(network, exported) -> None:
    kinds = [node.op_type for node in onnx.load(exported).graph.node]
    assert "PRelu" not in kinds
    assert kinds.count("Relu") == sum(isinstance(module, torch.nn.PReLU) for module in network.modules())
    loaded = create_backbone("mobilefacenet", weights=exported)
    slopes = "stem.0.2.weight"
    assert torch.allclose(loaded.state_dict()[slopes], network.state_dict()[slopes], atol=1e-6)
    assert loaded.info.licence == network.info.licence == "non-commercial research only"


def test_prelu_is_restored_for_compilers_that_know_it(network, exported) -> None:
    proto = onnx.load(exported)
    restore_prelu(proto)
    onnx.checker.check_model(proto)
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("PRelu") == sum(isinstance(module, torch.nn.PReLU) for module in network.modules())
    assert "Relu" not in kinds
    used = {name for node in proto.graph.node for name in node.input}
    assert {each.name for each in proto.graph.initializer} <= used
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    crop = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8)
    images = crop.transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(session.run(None, {"input": images})[0], load(exported).embed(crop), atol=1e-4)


def test_equal_weights_leave_the_normalisation_where_insightface_looks(tmp_path: Path) -> None:
    """An untrained network has many equal constants, which the older exporter copies by nodes of their own."""
    path = tmp_path / "untrained.onnx"
    export_onnx(create_backbone("mobilefacenet_slim").eval(), path, opset=17)
    first = [node.name for node in onnx.load(path).graph.node[:8]]
    assert [name for name in first if name.startswith(("Sub", "Mul"))] == list(onnx_export.NORMALISATION)


@pytest.mark.parametrize(
    ("opset", "written", "stays"), [(11, 6, 6), (17, 10, 8), (18, 10, 8), (19, 10, 9), (21, 10, 10)]
)
def test_the_ir_version_is_no_higher_than_the_operators_need(opset: int, written: int, stays: int) -> None:
    proto = onnx.ModelProto(ir_version=written)
    proto.opset_import.add(domain="", version=opset)
    proto.opset_import.add(domain="com.microsoft", version=1)
    lower_ir_version(proto)
    assert proto.ir_version == stays


@pytest.mark.parametrize("flip", [False, True])
def test_a_network_in_bgr_is_exported_for_old_operators(tmp_path: Path, flip: bool) -> None:
    """The older exporter puts six constants and a slice before the normalisation of such a network."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 8), torch.nn.Flatten(), torch.nn.Linear(4 * 14 * 14, 8))
    network = create_backbone(layers.eval(), mean=127.5, scale=1 / 128, color_order="BGR")
    path = tmp_path / "bgr.onnx"
    assert export_onnx(network, path, opset=11, flip=flip) <= 1e-4
    # Where InsightFace looks.
    first = [node.name for node in onnx.load(path).graph.node[:8]]
    assert [name for name in first if name.startswith(("Sub", "Mul"))] == list(onnx_export.NORMALISATION)
    crop = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8)
    np.testing.assert_allclose(load(path).embed(crop), load(network, flip=flip).embed(crop), atol=1e-4)


def test_a_graph_without_normalisation_says_so() -> None:
    node = onnx.helper.make_node("Sub", ["input", "mean"], ["embedding"])
    graph = onnx.helper.make_graph([node], "g", [], [])
    with pytest.raises(
        RunError, match="expected a Mul for the normalisation among the first 8 nodes .*, got Sub; export"
    ):
        onnx_export._name_normalisation(onnx.helper.make_model(graph))
