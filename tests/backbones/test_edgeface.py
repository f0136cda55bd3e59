"""EdgeFace computes what timm's EdgeNeXt does, and comes in from its authors' files, from ONNX and from our exports."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from arcface_export import export_arcface, rename

from facexfer.backbones import create_backbone
from facexfer.backbones.identify import identify
from facexfer.backbones.parts.info import BackboneModule
from facexfer.deploy.onnx_export import export_onnx
from facexfer.errors import InputError

SMALL, LOW_RANK = "edgeface_xxs", "edgeface_xs_gamma_06"


def lively(name: str, seed: int = 0) -> BackboneModule:
    """A network whose blocks do something: fresh ones scale what they add by a millionth."""
    torch.manual_seed(seed)
    network = create_backbone(name)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if "gamma" in key or "norm" in key or "temperature" in key:
                parameter.copy_(0.5 + torch.rand_like(parameter))
    return network.eval()


@pytest.fixture(scope="module", params=[SMALL, LOW_RANK])
def network(request: pytest.FixtureRequest) -> BackboneModule:
    return lively(request.param)


def embeddings(network: BackboneModule) -> torch.Tensor:
    with torch.no_grad():
        made: torch.Tensor = network(torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)))
    return made


@pytest.mark.parametrize(("name", "theirs"), [(SMALL, "edgenext_xx_small"), ("edgeface_base", "edgenext_base")])
def test_it_computes_what_timm_does(name: str, theirs: str) -> None:
    timm = pytest.importorskip("timm")
    ours = lively(name)
    reference = timm.create_model(theirs, num_classes=512).eval()
    reference.load_state_dict(ours.state_dict())
    torch.testing.assert_close(embeddings(ours), embeddings(reference), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "millions"),
    [(SMALL, 1.24), (LOW_RANK, 1.77), ("edgeface_s_gamma_05", 3.65), ("edgeface_base", 18.23)],
)
def test_it_has_as_many_parameters_as_its_authors_say(name: str, millions: float) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in create_backbone(name).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


def test_other_image_sizes_have_other_positions() -> None:
    network = create_backbone(SMALL, input_size=(160, 128)).eval()
    assert network(torch.zeros(1, 3, 160, 128)).shape == (1, 512)


def test_its_authors_files_are_read_and_named(network: BackboneModule, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save({f"model.{name}": tensor for name, tensor in network.state_dict().items()}, file)
    facts = identify(file)
    assert (facts.network, facts.embedding_size) == (network.info.name, 512)
    assert torch.equal(embeddings(create_backbone(network.info.name, weights=file).eval()), embeddings(network))


@pytest.mark.parametrize("renamed", [False, True])
def test_an_onnx_file_is_matched_by_order(network: BackboneModule, renamed: bool, tmp_path: Path) -> None:
    file = export_arcface(network, tmp_path / "m.onnx")
    if renamed:
        rename(file)
    facts = identify(file)
    assert (facts.network, facts.normalisation) == (
        network.info.name, "RGB, (x - 127.5) / 127.5, outside; usual for this network",
    )  # fmt: skip
    loaded = create_backbone(network.info.name, weights=file).eval()
    torch.testing.assert_close(embeddings(loaded), embeddings(network), atol=1e-4, rtol=1e-4)
    for name, tensor in network.state_dict().items():
        # Several layers make the same table of positions.
        if "token_projection" not in name:
            torch.testing.assert_close(loaded.state_dict()[name], tensor)


@pytest.mark.parametrize("opset", [11, 17])
def test_our_own_file_comes_back_with_its_normalisation(network: BackboneModule, opset: int, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    export_onnx(network, file, opset=opset)
    assert identify(file).normalisation == "RGB, (x - 127.5) / 127.5, inside the graph"
    loaded = create_backbone(network.info.name, weights=file).eval()
    torch.testing.assert_close(embeddings(loaded), embeddings(network), atol=1e-3, rtol=1e-3)


def test_another_network_is_refused_in_one_line(network: BackboneModule, tmp_path: Path) -> None:
    file = export_arcface(network, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"m\.onnx: expected the graph of edgeface_base: expected 'stem.0.weight'"):
        create_backbone("edgeface_base", weights=file)
    with pytest.raises(InputError, match="expected the graph of mbf: .* is it another network"):
        create_backbone("mbf", weights=file)
    proto = onnx.load(file)
    weight = next(each for each in proto.graph.initializer if list(each.dims) == [512])
    weight.CopyFrom(onnx.numpy_helper.from_array(np.zeros(4, np.float32), weight.name))
    onnx.save(proto, file)
    with pytest.raises(InputError, match=r"expected 'head.fc.*bias' \(512,\), got \(4,\) at node"):
        create_backbone(network.info.name, weights=file)


def test_a_damaged_table_of_positions_is_refused(network: BackboneModule, tmp_path: Path) -> None:
    damaged = copy.deepcopy(network)
    (table,) = [value for name, value in damaged.named_parameters() if name.endswith("token_projection.bias")]
    table.data[3] = torch.nan
    file = export_arcface(damaged, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"m\.onnx: .* not finite: stages.1.blocks.*token_projection.weight"):
        create_backbone(network.info.name, weights=file)
