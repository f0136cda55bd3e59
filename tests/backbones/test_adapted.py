"""Frozen networks with a trained part: a block in front (PDT), or blocks that modulate their maps (CAIM)."""

import copy
from pathlib import Path

import onnxruntime
import pytest
import torch
from arcface_export import give_statistics
from safetensors.torch import save_file
from shared_data import shared
from torch import nn

from facexfer.backbones import create_backbone
from facexfer.backbones.modulated import ModulatedNetwork, StyleModulation
from facexfer.backbones.parts.carried import facts_to_metadata
from facexfer.backbones.prefixed import PrefixedNetwork
from facexfer.backbones.revive import revive_batchnorm
from facexfer.deploy.onnx_export import export_onnx
from facexfer.errors import InputError

KINDS = {"pdt": PrefixedNetwork, "caim": ModulatedNetwork}
# The layer that is zero at first, the numbers that are trained, and the tensors that the plain network leaves out.
ZEROS = {"pdt": ("prefix.back",), "caim": tuple(f"modulations.{place}.style" for place in range(3))}
SIZES = {"pdt": 1_356, "caim": 25_152}
TENSORS = {"pdt": 14, "caim": 12}


@pytest.fixture
def plain(tmp_path: Path):
    torch.manual_seed(0)
    network = give_statistics(create_backbone("mobilefacenet")).eval()
    file = tmp_path / "plain.pt"
    torch.save(network.state_dict(), file)
    return network, file


def images(network, count: int = 2):
    return torch.randn(count, 3, *network.info.input_size, generator=torch.Generator().manual_seed(1))


def disturb(network, kind, spread) -> None:
    for layer in ZEROS[kind]:
        nn.init.normal_(network.get_submodule(layer).weight, std=spread)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_part_changes_nothing(plain, kind: str) -> None:
    network, file = plain
    adapted = create_backbone(f"{kind}:mobilefacenet", file)
    assert torch.equal(adapted(images(network)), network(images(network)))
    assert adapted.info.name == f"{kind}:mobilefacenet"
    inner = adapted.get_submodule("network")
    for tap in (*adapted.info.taps, *adapted.info.blocks):
        assert adapted.get_submodule(tap.layer) is inner.get_submodule(tap.layer.removeprefix("network."))


@pytest.mark.parametrize("kind", KINDS)
def test_training_moves_the_part_and_no_statistics(plain, kind: str) -> None:
    network, file = plain
    adapted = create_backbone(f"{kind}:mobilefacenet", file).train()
    inner = adapted.get_submodule("network")
    before = {name: values.clone() for name, values in inner.state_dict().items()}
    adapted(images(network)).square().sum().backward()
    part = adapted.get_submodule(KINDS[kind].added)
    with torch.no_grad():
        for parameter in part.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.1 * parameter.grad)
    assert not torch.equal(adapted(images(network)), network(images(network)))
    assert all(torch.equal(values, before[name]) for name, values in inner.state_dict().items())
    assert sum(parameter.numel() for parameter in part.parameters()) == SIZES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_independent(plain, kind: str) -> None:
    network, file = plain
    adapted = create_backbone(f"{kind}:mobilefacenet", file)
    twin = copy.deepcopy(adapted)
    disturb(adapted, kind, 1.0)
    assert torch.equal(twin(images(network)), network(images(network)))
    assert not torch.equal(adapted(images(network)), network(images(network)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_the_part_comes_back(plain, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    network, file = plain
    adapted = create_backbone(f"{kind}:mobilefacenet", file)
    disturb(adapted, kind, 1.0)
    saved = tmp_path / "adapted.safetensors"
    save_file(adapted.state_dict(), saved, facts_to_metadata(adapted.info))
    assert KINDS[kind].is_in(saved)
    assert not KINDS[kind].is_in(file)
    again = create_backbone(f"{kind}:mobilefacenet", saved)
    assert torch.equal(again(images(network)), adapted(images(network)))
    create_backbone("mobilefacenet", saved)
    left_out = f"left out {TENSORS[kind]} tensors that are not the network's: {KINDS[kind].added}."
    assert left_out in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_file_for_onnxruntime_has_the_part(plain, tmp_path: Path, kind: str) -> None:
    network, file = plain
    adapted = create_backbone(f"{kind}:mobilefacenet", file).eval()
    disturb(adapted, kind, 100.0 if kind == "pdt" else 1.0)
    export_onnx(adapted, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (2, 3, *adapted.info.input_size), generator=generator).float()
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})
    mean, scale = (torch.tensor(each).view(1, 3, 1, 1) for each in (adapted.info.mean, adapted.info.scale))
    with torch.no_grad():
        expected = adapted((pixels - mean) * scale)
        without = network((pixels - mean) * scale)
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-4)
    assert (expected - without).abs().max() > 1e-3


def test_a_modulation_scales_and_shifts_each_channel_by_its_own_statistics() -> None:
    block = StyleModulation(2)
    with torch.no_grad():
        block.style.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 5.0]))  # gamma of both channels, then beta
    maps = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    changed = block(maps)
    first = maps[0, 0]
    expected = first + (first - first.mean()) / first.var(correction=0).add(1e-5).sqrt()
    assert torch.allclose(changed[0, 0], expected, atol=1e-6)
    assert torch.allclose(changed[0, 1], maps[0, 1] + 5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_with_folded_batchnorm_is_revived_before_training(kind: str) -> None:
    adapted = create_backbone(f"{kind}:mobilefacenet_relu6", shared("weights/mobilefacenet-relu6.onnx"))
    assert adapted.folded
    assert not adapted.training
    with pytest.raises(InputError, match="expected BatchNorm with statistics before training"):
        adapted.train()
    with torch.no_grad():
        before = adapted(images(adapted))
        revive_batchnorm(adapted, [images(adapted, 8)])
        torch.testing.assert_close(adapted(images(adapted)), before, rtol=1e-3, atol=1e-3)
    statistics = adapted.state_dict()["network.conv1.1.running_mean"]
    measured = statistics.clone()
    assert measured.abs().max() > 0
    adapted.train()(images(adapted)).sum().backward()
    assert adapted.folded == ()
    assert torch.equal(statistics, measured)
