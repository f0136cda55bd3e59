"""Image networks: published taps, foreign weights with their classifier, discovery, the folded MobileNetV2."""

from pathlib import Path

import pytest
import torch
import torchvision
from shared_data import shared

from facexfer.backbones import create_backbone
from facexfer.errors import InputError
from facexfer.transfer.attention import ChannelAttention, SpatialAttention
from facexfer.transfer.taps import map_shapes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shapes", "spatial", "channel"),
    [
        ("resnet50", ((256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)), 405_475, 204_600),
        ("resnet101", ((256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)), 405_475, 204_600),
        ("inception_v3", ((192, 71, 71), (288, 35, 35), (768, 17, 17), (2048, 8, 8)), 819_041, 409_638),
        ("mobilenet_v2", ((32, 28, 28), (64, 14, 14), (96, 14, 14), (320, 7, 7)), 56_791, 28_358),
    ],
)
def test_published_taps_and_the_parameter_counts_of_table_6(
    name: str,
    shapes: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]],
    spatial: int,
    channel: int,
) -> None:
    network = create_backbone(name)
    info = network.info
    assert map_shapes(network, [tap.layer for tap in info.taps], info.input_size) == shapes
    assert tuple(tap.channels for tap in info.taps) == tuple(shape[0] for shape in shapes)
    assert sum(p.numel() for c, h, w in shapes for p in SpatialAttention(h, w).parameters()) == spatial
    assert sum(p.numel() for c, h, w in shapes for p in ChannelAttention(c, h, w).parameters()) == channel
    assert [len(info.even_taps(count)) for count in (8, 12)] == [8, 12]


def test_blocks_have_the_channels_that_they_say() -> None:
    network = create_backbone("mobilenet_v2", input_size=(64, 64))
    blocks = network.info.blocks
    shapes = map_shapes(network, [tap.layer for tap in blocks], (64, 64))
    assert [(tap.channels, 64 // tap.stride) for tap in blocks] == [(c, h) for c, h, _ in shapes]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_in_the_form_of_places365_gives_trunk_and_classifier(zipped: bool, tmp_path: Path) -> None:
    original = torchvision.models.mobilenet_v2(num_classes=7).eval()
    state = {f"module.{name}": tensor for name, tensor in original.state_dict().items()}
    content = {"epoch": 3, "arch": "mobilenet_v2", "state_dict": state, "best_prec1": torch.tensor(54.7)}
    # The published files are older than torch's zip form.
    torch.save(content, tmp_path / "best.pth.tar", _use_new_zipfile_serialization=zipped)
    network = create_backbone("mobilenet_v2", tmp_path / "best.pth.tar", input_size=(64, 64)).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(network.classifier(network(images)), original(images), atol=1e-5)
    assert not any("classifier" in name for name, _ in network.named_parameters())
    with pytest.raises(InputError, match="expected the entries of this network"):
        create_backbone("resnet50", tmp_path / "best.pth.tar")


@pytest.mark.slow
def test_inception_s_file_loads_without_its_auxiliary_head(tmp_path: Path) -> None:
    original = torchvision.models.inception_v3(num_classes=5, aux_logits=True, init_weights=False).eval()
    assert any(name.startswith("AuxLogits.") for name in original.state_dict())
    torch.save(original.state_dict(), tmp_path / "inception.pth")
    network = create_backbone("inception_v3", tmp_path / "inception.pth", input_size=(96, 96)).eval()
    assert not any("AuxLogits" in name for name in network.state_dict())
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(network.classifier(network(images)), original(images), atol=1e-5)
        # In training too there is one output, the embedding.
        assert network.train()(images).shape == (2, 2048)


def test_any_network_by_discovery_and_unknown_ones() -> None:
    info = create_backbone("torchvision:resnet18").info
    assert [(tap.channels, tap.stride) for tap in info.taps] == [(64, 4), (128, 8), (256, 16), (512, 32)]
    pytest.importorskip("timm")
    info = create_backbone("timm:resnet10t").info
    assert [tap.channels for tap in info.taps] == [64, 128, 256, 512]
    with pytest.raises(InputError, match="unknown torchvision network 'resnet19'"):
        create_backbone("torchvision:resnet19")
    with pytest.raises(InputError, match="unknown library 'keras'"):
        create_backbone("keras:resnet18")
    with pytest.raises(
        InputError, match="unknown weights 'V9' of mobilenet_v2; torchvision has DEFAULT, IMAGENET1K_V1"
    ):
        create_backbone("mobilenet_v2", "torchvision:V9")


def test_the_folded_mobilenet_loads_with_its_own_normalisation() -> None:
    weights = shared("weights/mobilenet_v2-imagenet-bnfolded-fp16.pth")
    network = create_backbone("mobilenet_v2_tf", weights).eval()
    assert network.classifier.weight.shape == (1001, 1280)
    assert network.classifier.weight.dtype == torch.float32
    assert network.info.mean == (127.5,) * 3
