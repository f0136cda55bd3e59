"""The frozen source in its cheapest form gives what the plain one gives."""

import torch
import torchvision
from hooks import count_hooks
from torch import nn

from facexfer.backbones import create_backbone
from facexfer.networks.folded import fold_batchnorm
from facexfer.transfer.taps import FeatureTap


def with_statistics(network, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return network.eval()


def outputs(network, layers: list[str], images: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad(), FeatureTap(network, layers) as tap:
        output = network(images)
        return [*tap.maps, output]


def assert_close(one: list[torch.Tensor], other: list[torch.Tensor]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert (mine - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_mobilefacenet_loses_every_batchnorm_and_keeps_its_maps() -> None:
    torch.manual_seed(0)
    network = with_statistics(create_backbone("mobilefacenet"))
    layers = [tap.layer for tap in network.info.taps]
    frozen = fold_batchnorm(network, layers, (112, 112))
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in frozen.network.modules())
    assert frozen.folded == sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    images = torch.randn(2, 3, 112, 112)
    assert_close(outputs(frozen.network, layers, images), outputs(network, layers, images))
    assert frozen.difference < 1e-4
    assert not any(parameter.requires_grad for parameter in frozen.network.parameters())
    assert count_hooks(frozen.network) == 0


def test_a_convolution_that_is_tapped_keeps_its_batchnorm() -> None:
    """The published ResNet taps sit before BatchNorm."""
    torch.manual_seed(0)
    network = with_statistics(torchvision.models.resnet18(num_classes=4))
    layers = ["layer1.1.conv2", "layer4.1.conv2"]
    frozen = fold_batchnorm(network, layers, (64, 64))
    assert isinstance(frozen.network.get_submodule("layer1.1.bn2"), nn.BatchNorm2d)
    assert isinstance(frozen.network.get_submodule("layer1.1.bn1"), nn.Identity)
    assert frozen.folded == 20 - 2
    images = torch.randn(2, 3, 64, 64)
    assert_close(outputs(frozen.network, layers, images), outputs(network, layers, images))


class Shared(nn.Module):
    """Reads the convolution's output without its BatchNorm, which no hook sees."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv(images)
        return self.norm(maps) + maps


def test_where_folding_would_change_the_output_nothing_is_folded() -> None:
    torch.manual_seed(0)
    network = with_statistics(Shared())
    frozen = fold_batchnorm(network, [], (8, 8))
    assert frozen.folded == 0
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(frozen.network(images), network(images))
