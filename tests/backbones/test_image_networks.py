"""Image networks: published taps, foreign weights with their classifier, discovery, the folded MobileNetV2."""

from pathlib import Path

import pytest
import torch
import torchvision
from shared_data import shared

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.normalize import Normalize
from facexfer.errors import InputError
from facexfer.transfer.attention import ChannelAttention, SpatialAttention
from facexfer.transfer.channel_weights import loss_rises
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


@pytest.mark.parametrize(
    ("model", "name", "auxiliary", "size"),
    [
        pytest.param("inception_v3", "inception_v3", {"AuxLogits"}, 2048, marks=pytest.mark.slow),
        ("googlenet", "torchvision:googlenet", {"aux1", "aux2"}, 1024),
    ],
)
def test_a_file_loads_without_its_auxiliary_heads(
    model: str, name: str, auxiliary: set[str], size: int, tmp_path: Path
) -> None:
    original = torchvision.models.get_model(model, num_classes=5, aux_logits=True, init_weights=False).eval()
    assert {entry.split(".")[0] for entry in original.state_dict()} > auxiliary
    torch.save(original.state_dict(), tmp_path / "original.pth")
    network = create_backbone(name, tmp_path / "original.pth", input_size=(96, 96)).eval()
    assert not any("aux" in entry.lower() for entry in network.state_dict())
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(network.classifier(network(images)), original(images), atol=1e-5)
        # In training too there is one output, the embedding.
        assert network.train()(images).shape == (2, size)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("torchvision:mnasnet0_5", [f"trunk.layers.{number}" for number in (8, 9, 11, 16)]),
        ("torchvision:mobilenet_v3_small", [f"trunk.features.{number}" for number in (1, 3, 8, 12)]),
        ("timm:lcnet_035", [f"trunk.blocks.{number}" for number in (1, 2, 4, 5)]),
        ("torchvision:resnet18", [f"trunk.layer{number}" for number in (1, 2, 3, 4)]),
    ],
)
def test_no_tap_of_a_discovered_network_holds_another(name: str, layers: list[str]) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    network = create_backbone(name, input_size=(64, 64)).eval()
    assert [tap.layer for tap in network.info.taps] == layers
    # As DELTA does: a layer within another tapped one is refused.
    batch = torch.zeros(1, 3, 64, 64), torch.zeros(1)
    rises = loss_rises(network, lambda embeddings, _: embeddings.sum(dim=1), layers, [batch], [[0]] * 4)
    assert [len(each) for each in rises] == [tap.channels for tap in network.info.taps]


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


@pytest.mark.parametrize("name", ["googlenet", pytest.param("inception_v3", marks=pytest.mark.slow)])
def test_a_network_that_rescales_its_input_in_torchvision_answers_as_there(name: str, tmp_path: Path) -> None:
    make = torchvision.models.get_model_builder(name)
    original = make(num_classes=5, aux_logits=False, init_weights=False, transform_input=True)
    imagenet = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    images = torch.randint(256, (4, 3, 96, 96))
    for module in original.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # The statistics are those of one batch: without any, a fresh network gives next to nothing.
            module.momentum = 1.0
    with torch.no_grad():
        original.train()(imagenet(images / 255))
        expected = original.eval()(imagenet(images / 255))
    torch.save(original.state_dict(), tmp_path / "weights.pth")
    network = create_backbone(f"torchvision:{name}", tmp_path / "weights.pth", input_size=(96, 96)).eval()
    with torch.no_grad():
        answers = network.classifier(network(Normalize(network.info)(images)))
    assert (answers - expected).norm() < 1e-2 * expected.norm()


@pytest.mark.parametrize(
    ("name", "mean", "scale", "size"),
    [
        ("torchvision:resnet18", 123.675, 1 / (0.229 * 255), 224),
        ("torchvision:googlenet", 127.5, 1 / 127.5, 224),
        ("torchvision:efficientnet_b1", 123.675, 1 / (0.229 * 255), 240),
        pytest.param("torchvision:inception_v3", 127.5, 1 / 127.5, 299, marks=pytest.mark.slow),
        pytest.param("torchvision:quantized_inception_v3", 127.5, 1 / 127.5, 299, marks=pytest.mark.slow),
        pytest.param("torchvision:efficientnet_v2_l", 127.5, 1 / 127.5, 480, marks=pytest.mark.slow),
        # Of its weights one takes 384 pixels, which its position embedding as made here does not.
        pytest.param("torchvision:vit_b_16", 123.675, 1 / (0.229 * 255), 224, marks=pytest.mark.slow),
        ("timm:resnet10t", 123.675, 1 / (0.229 * 255), 176),
        ("timm:vit_tiny_patch16_224", 127.5, 1 / 127.5, 224),
        pytest.param("timm:inception_v4", 127.5, 1 / 127.5, 299, marks=pytest.mark.slow),
    ],
)
def test_input_as_of_the_library_s_own_weights(name: str, mean: float, scale: float, size: int) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    info = create_backbone(name).info
    assert (info.mean[0], info.scale[0]) == pytest.approx((mean, scale))
    assert info.input_size == (size, size)


def test_the_folded_mobilenet_loads_with_its_own_normalisation() -> None:
    weights = shared("weights/mobilenet_v2-imagenet-bnfolded-fp16.pth")
    network = create_backbone("mobilenet_v2_tf", weights).eval()
    assert network.classifier.weight.shape == (1001, 1280)
    assert network.classifier.weight.dtype == torch.float32
    assert network.info.mean == (127.5,) * 3
