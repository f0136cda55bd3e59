"""Folded BatchNorm gets statistics from data and computes what it computed before."""

import copy

import pytest
import torch
from torch import nn

from facexfer.backbones.revive import folded_layers, revive_batchnorm
from facexfer.errors import InputError


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    first, second = nn.BatchNorm2d(8), nn.BatchNorm2d(4)
    for layer in (first, second):
        nn.init.normal_(layer.bias)
    return nn.Sequential(nn.Conv2d(3, 8, 3), first, nn.PReLU(8), nn.Conv2d(8, 4, 3), second, nn.Flatten()).eval()


def test_eval_stays_and_train_starts_from_the_same_function() -> None:
    network, images = make_network(), 3 + 2 * torch.randn(64, 3, 9, 9)
    before = network(images)
    naive = copy.deepcopy(network).train()(images)
    assert folded_layers(network) == ("1", "4")
    assert revive_batchnorm(network, images.split(16)) == ("1", "4")
    assert not network.training
    assert torch.allclose(network(images), before, atol=1e-5)
    after = network.train()(images)
    # Batch statistics are unbiased in none but the running value: equal up to float noise on the same images.
    assert torch.allclose(after, before, atol=1e-4)
    assert (naive - before).abs().max() > 0.5
    assert folded_layers(network) == ()


def test_statistics_are_those_of_the_input_by_hand() -> None:
    layer = nn.BatchNorm1d(1, eps=0.0)
    revive_batchnorm(nn.Sequential(layer), [torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])])
    assert (layer.running_mean.item(), layer.running_var.item()) == (4.0, 5.0)
    assert (layer.weight.item(), layer.bias.item()) == pytest.approx((5**0.5, 4.0))


def test_a_constant_channel_and_a_large_mean_are_kept() -> None:
    layer = nn.BatchNorm2d(2).eval()
    images = torch.stack([torch.full((6, 4, 4), 2.0), 1e4 + 1e-2 * torch.randn(6, 4, 4)], dim=1)
    before = layer(images)
    revive_batchnorm(nn.Sequential(layer), [images])
    assert layer.running_var[1].item() == pytest.approx(1e-4, rel=0.5)
    assert torch.allclose(layer(images), before, rtol=1e-5)


def test_what_cannot_be_revived_is_said() -> None:
    network = make_network()
    with pytest.raises(InputError, match="expected images to revive layer '1' with, got none"):
        revive_batchnorm(network, [])
    with pytest.raises(InputError, match="expected a BatchNorm layer, got 'x', which is not there"):
        revive_batchnorm(network, [], ["x"])
    with pytest.raises(InputError, match="learned scale, got Conv2d '0'"):
        revive_batchnorm(network, [], ["0"])
    with pytest.raises(InputError, match="expected finite maps at layer '1'"):
        revive_batchnorm(network, [torch.full((2, 3, 9, 9), torch.nan)])
    assert folded_layers(network) == ("1", "4")
