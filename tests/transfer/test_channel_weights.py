"""DELTA's channel weights: the fast way equals one forward pass per channel, on every kind of graph."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.transfer.channel_weights import loss_rises, plain_loss_rises, weights_from_rises


class Residual(nn.Module):
    """A tap before BatchNorm and a residual added in place, as in torchvision's ResNets."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.block = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(6, 4, 1)

    def forward(self, images):
        maps = self.relu(self.norm(self.stem(images)))
        out = self.norm2(self.block(maps))
        out += maps
        return self.last(self.relu(out)).mean(dim=(2, 3))


class ReadsSizes(nn.Module):
    """Sizes and parts of the maps before a tap are used behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.block = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, images):
        maps = self.stem(images)
        batch, channels = maps.shape[0], maps.size(1)
        one, other = maps.chunk(2, dim=1)
        means = self.block(maps).mean(dim=(2, 3)).reshape(batch, channels)
        return means * torch.cat([other, one], dim=1).mean(dim=(2, 3))


class Untraceable(nn.Sequential):
    """Its forward pass asks how many images there are, which fx answers with a RuntimeError."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 6, 3))

    def forward(self, images):
        return self[0](images).view(len(images), -1)


def per_sample(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(embeddings, labels, reduction="none")


@pytest.fixture
def network() -> Residual:
    torch.manual_seed(0)
    network = Residual()
    for _ in range(5):
        network(torch.randn(8, 3, 9, 9) * 2 + 1)
    return network.eval()


@pytest.fixture
def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(count, 3, 9, 9), torch.randint(0, 4, (count,))) for count in (5, 3)]


def test_the_fast_way_equals_the_plain_one_and_leaves_the_network_alone(
    network: Residual, batches: list[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    layers = ("stem", "block")
    plain = plain_loss_rises(network, per_sample, layers, batches, [range(6), range(6)])
    for at_once in (1, 20, 1000):
        fast = loss_rises(network, per_sample, layers, batches, images_at_once=at_once)
        for ours, theirs in zip(fast, plain, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)
            assert torch.allclose(weights_from_rises(ours), weights_from_rises(theirs), atol=1e-5)
    assert plain[0].abs().max() > 1e-3
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_silencing_is_setting_the_filter_to_zero(
    network: Residual, batches: list[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    (rises,) = loss_rises(network, per_sample, ("block",), batches)
    images = torch.cat([each for each, _ in batches])
    labels = torch.cat([each for _, each in batches])
    with torch.no_grad():
        before = per_sample(network(images), labels).mean()
        network.block.weight[2] = 0
        after = per_sample(network(images), labels).mean()
    assert rises[2].item() == pytest.approx((after - before).item(), abs=1e-5)


def test_batchnorm_that_does_more_or_is_tapped_is_not_folded() -> None:
    layers = pytest.importorskip("timm.layers")
    torch.manual_seed(0)
    acting = layers.BatchNormAct2d(6, act_layer=nn.Hardswish)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), acting, nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    batches = [(torch.randn(5, 3, 9, 9), torch.randint(0, 4, (5,)))]
    network(batches[0][0] * 2 + 1)
    network.eval()
    for layer in ("1", "3"):
        (plain,) = plain_loss_rises(network, per_sample, (layer,), batches, [range(6)])
        (fast,) = loss_rises(network, per_sample, (layer,), batches)
        assert plain.abs().max() > 0.01
        assert torch.allclose(fast, plain, atol=1e-5), layer


def test_a_network_that_reads_sizes_before_the_tap() -> None:
    torch.manual_seed(0)
    network = ReadsSizes().eval()
    # As many images as channels, so that a number alone does not tell which of the two it is.
    batches = [(torch.randn(6, 3, 9, 9), torch.randint(0, 6, (6,)))]
    layers = ("stem", "block")
    plain = plain_loss_rises(network, per_sample, layers, batches, [range(6), range(6)])
    assert all(rises.abs().max() > 1e-4 for rises in plain)
    for ours, theirs in zip(loss_rises(network, per_sample, layers, batches), plain, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_some_channels_only(network: Residual, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    (whole,) = loss_rises(network, per_sample, ("block",), batches)
    (part,) = loss_rises(network, per_sample, ("block",), batches, channels=[[1, 4]])
    assert part[[1, 4]].tolist() == pytest.approx(whole[[1, 4]].tolist(), abs=1e-6)
    assert part[[0, 2, 3, 5]].abs().max() == 0


def test_weights_are_the_published_softmax() -> None:
    rises = torch.tensor([1.0, 2.0, 6.0])
    standard = (rises - 3) / rises.std()
    expected = (standard / 5).exp() / (standard / 5).exp().sum()
    assert weights_from_rises(rises).tolist() == pytest.approx(expected.tolist())
    assert weights_from_rises(rises).sum().item() == pytest.approx(1)


def test_errors(network: Residual, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    with pytest.raises(InputError, match="expected at least one batch"):
        loss_rises(network, per_sample, ("block",), [])
    with pytest.raises(InputError, match="expected layer 'relu' to run once, it runs 2 times"):
        loss_rises(network, per_sample, ("relu",), batches)
    with pytest.raises(InputError, match="expected a network that torch.fx can trace"):
        loss_rises(Untraceable(), per_sample, ("0",), batches)
