"""FeatureTap: what it reads, that nothing stays, what it refuses."""

import copy

import pytest
import torch
from hooks import count_hooks
from torch import nn
from torchvision.models import resnet18

from facexfer.errors import InputError
from facexfer.transfer.taps import FeatureTap, map_shapes


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())


def test_maps_come_in_the_order_of_the_names() -> None:
    model, images = network().eval(), torch.randn(2, 3, 5, 5)
    with FeatureTap(model, ["2", "0"]) as tap:
        model(images)
        relu, conv = tap.maps
    assert torch.equal(conv, model[0](images))
    assert torch.equal(relu, model[:3](images))


def test_gradients_flow_through_the_maps() -> None:
    model = network()
    with FeatureTap(model, ["0"]) as tap:
        model(torch.randn(2, 3, 5, 5))
        tap.maps[0].sum().backward()
    assert model[0].weight.grad is not None


def test_no_hook_is_left_nor_copied() -> None:
    model = network()
    with FeatureTap(model, ["0", "2"]):
        assert count_hooks(model) == 2
    assert count_hooks(model) == 0
    assert count_hooks(copy.deepcopy(model)) == 0


def test_no_hook_is_left_after_an_exception() -> None:
    model = network()
    with pytest.raises(RuntimeError), FeatureTap(model, ["0"]):
        model(torch.randn(2, 5, 5, 5))
    assert count_hooks(model) == 0


def test_an_unknown_layer_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"unknown layer 'layer1.1.con1'; did you mean 'layer1.1.conv1'\?"):
        FeatureTap(resnet18(), ["layer1.1.con1"])


def test_a_layer_named_twice_is_an_error() -> None:
    with pytest.raises(InputError, match="distinct layers"):
        FeatureTap(network(), ["0", "0"])


def test_a_layer_that_did_not_run_is_an_error() -> None:
    with FeatureTap(network(), ["0"]) as tap, pytest.raises(InputError, match="'0', it did not run"):
        _ = tap.maps


def test_an_output_that_is_overwritten_in_place_is_an_error() -> None:
    # torchvision adds the residual in place to the output of bn2.
    model = resnet18()
    with FeatureTap(model, ["layer1.0.bn2"]) as tap:
        model(torch.randn(2, 3, 32, 32))
        with pytest.raises(InputError, match="'layer1.0.bn2' to stay as it was, a later layer overwrote it"):
            _ = tap.maps


def test_map_shapes_leaves_mode_and_statistics_alone() -> None:
    model = network().train()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    assert map_shapes(model, ["0", "2"], (7, 9)) == ((4, 7, 9), (4, 7, 9))
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_tap_that_gives_no_map_is_an_error() -> None:
    with pytest.raises(InputError, match=r"layer '3' to give maps \(N, C, H, W\), got shape \(1, 196\)"):
        map_shapes(network(), ["3"], (7, 7))
