"""Revived layers get scales that a recipe's rate fits, and the network computes what it did."""

import copy

import pytest
import torch
from arcface_export import export_arcface, give_statistics
from torch import Tensor, nn

from facexfer import create_backbone
from facexfer.backbones.balance import balance_scales
from facexfer.backbones.revive import revive_batchnorm


class Residual(nn.Module):
    """A branch that is added to its input, and a linear layer with a bias before the last BatchNorm."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), activation)
        self.branch = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.BatchNorm2d(8),
            nn.PReLU(8),
            nn.Conv2d(8, 8, 1),
            nn.BatchNorm2d(8),
        )
        self.fc = nn.Linear(8 * 5 * 5, 6)
        self.last = nn.BatchNorm1d(6)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        maps = maps + self.branch(maps)
        embeddings: Tensor = self.last(self.fc(maps.flatten(1)))
        return embeddings


def revived(activation: nn.Module, images: Tensor) -> tuple[nn.Module, tuple[str, ...]]:
    torch.manual_seed(0)
    network = Residual(activation).eval()
    with torch.no_grad():
        # As after folding: short filters, and one that is dead.
        filters = network.get_parameter("stem.0.weight")
        filters.mul_(0.2)
        filters[3] = 0
    names = revive_batchnorm(network, images.split(8))
    assert names == ("stem.1", "branch.1", "branch.4", "last")
    return network, names


@pytest.mark.parametrize("activation", [nn.PReLU(8), nn.ReLU6()])
def test_scales_change_and_the_function_does_not(activation: nn.Module) -> None:
    images = torch.randn(32, 3, 5, 5)
    network, names = revived(activation, images)
    before = copy.deepcopy(network)
    balance_scales(network, names)
    assert torch.allclose(network(images), before(images), atol=1e-5)
    assert torch.allclose(network.train()(images), before.train()(images), atol=1e-3)
    lengths = network.get_parameter("stem.0.weight").flatten(1).norm(dim=1)
    assert lengths[3] == 0
    assert torch.allclose(lengths[lengths > 0], torch.tensor(2.5))
    scales = torch.cat([network.get_parameter(f"{name}.weight").abs() for name in ("stem.1", "branch.4")])
    if isinstance(activation, nn.PReLU):
        assert float(scales.median().detach()) == pytest.approx(1, rel=0.05)
    else:
        # Its limit of 6 is not free, nor is what is added to that.
        now, then = (each.get_parameter("branch.4.weight") for each in (network, before))
        assert torch.allclose(now, then, rtol=0.2)
    # What leaves the network keeps its length.
    assert torch.equal(network.get_parameter("last.bias"), before.get_parameter("last.bias"))


def test_a_network_that_cannot_be_traced_stays_as_it_is() -> None:
    class Deciding(Residual):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images if images.mean() > 1e9 else -images)

    network = Deciding(nn.PReLU(8)).eval()
    before = copy.deepcopy(network.state_dict())
    balance_scales(network, ["stem.1"])
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("name", ["mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=16, head='fc')", "iresnet18"])
def test_networks_of_insightface_take_steps_of_the_usual_size(name: str, tmp_path) -> None:
    """The exporter's short filters would take steps that destroy them."""
    source = give_statistics(create_backbone(name))
    with torch.no_grad():
        for module in source.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                module.weight.mul_(0.1)
    network = create_backbone(name, weights=export_arcface(source, tmp_path / "w.onnx"))
    images = torch.rand(8, 3, 112, 112) * 2 - 1
    names = revive_batchnorm(network, [images])
    with torch.no_grad():
        before = network(images)
        balance_scales(network, names)
        assert (network(images) - before).abs().max() < 1e-3 * before.abs().max()
    scales = torch.cat([network.get_parameter(f"{layer}.weight").abs() for layer in names])
    lengths = [each.weight.flatten(1).norm(dim=1) for each in network.modules() if isinstance(each, nn.Conv2d)]
    assert 0.3 < float(scales.median().detach()) < 3
    assert float(torch.cat(lengths).median().detach()) == pytest.approx(2.5)
