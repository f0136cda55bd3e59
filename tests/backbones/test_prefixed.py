from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from arcface_export import give_statistics
from safetensors.torch import save_file

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.carried import facts_to_metadata
from facexfer.backbones.prefixed import has_prefix


@pytest.fixture
def plain(tmp_path: Path):
    torch.manual_seed(0)
    network = give_statistics(create_backbone("mobilefacenet")).eval()
    file = tmp_path / "plain.pt"
    torch.save(network.state_dict(), file)
    return network, file


def images(network, count=2):
    return torch.randn(count, 3, *network.info.input_size, generator=torch.Generator().manual_seed(1))


def test_a_new_block_changes_nothing(plain) -> None:
    network, file = plain
    prefixed: Any = create_backbone("pdt:mobilefacenet", file)
    assert torch.equal(prefixed(images(network)), network(images(network)))
    assert prefixed.info.name == "pdt:mobilefacenet"
    for tap in (*prefixed.info.taps, *prefixed.info.blocks):
        assert prefixed.get_submodule(tap.layer) is prefixed.network.get_submodule(tap.layer.removeprefix("network."))


def test_training_moves_the_block_and_no_statistics(plain) -> None:
    network, file = plain
    prefixed: Any = create_backbone("pdt:mobilefacenet", file).train()
    before = {name: values.clone() for name, values in prefixed.network.state_dict().items()}
    prefixed(images(network)).square().sum().backward()
    with torch.no_grad():
        for parameter in prefixed.prefix.parameters():
            parameter -= 0.1 * parameter.grad
    assert not torch.equal(prefixed(images(network)), network(images(network)))
    assert all(torch.equal(values, before[name]) for name, values in prefixed.network.state_dict().items())
    assert sum(parameter.numel() for parameter in prefixed.prefix.parameters()) == 1_356


def test_a_file_with_the_block_comes_back(plain, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, file = plain
    prefixed: Any = create_backbone("pdt:mobilefacenet", file)
    torch.nn.init.normal_(prefixed.prefix.back.weight)
    saved = tmp_path / "prefixed.safetensors"
    save_file(prefixed.state_dict(), saved, facts_to_metadata(prefixed.info))
    assert has_prefix(saved)
    assert not has_prefix(file)
    again = create_backbone("pdt:mobilefacenet", saved)
    assert torch.equal(again(images(network)), prefixed(images(network)))
    create_backbone("mobilefacenet", saved)
    assert "left out 14 tensors that are not the network's: prefix." in capsys.readouterr().err


def test_the_file_for_onnxruntime_has_the_block(plain, tmp_path: Path) -> None:
    from facexfer.deploy.onnx_export import export_onnx

    network, file = plain
    prefixed: Any = create_backbone("pdt:mobilefacenet", file).eval()
    torch.nn.init.normal_(prefixed.prefix.back.weight, std=100.0)
    export_onnx(prefixed, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (2, 3, *prefixed.info.input_size), generator=generator).float()
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})
    mean, scale = (torch.tensor(each).view(1, 3, 1, 1) for each in (prefixed.info.mean, prefixed.info.scale))
    with torch.no_grad():
        expected = prefixed((pixels - mean) * scale)
        without = network((pixels - mean) * scale)
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-4)
    assert (expected - without).abs().max() > 1e-3
