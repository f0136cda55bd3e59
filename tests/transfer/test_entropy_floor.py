"""Attention above an entropy floor: the floor holds, and weights that are above it stay as they are."""

import math

import pytest
import torch

from facexfer.errors import InputError
from facexfer.transfer.entropy_floor import raise_entropy


def entropy(weights: torch.Tensor) -> torch.Tensor:
    return torch.special.entr(weights).sum(dim=1)


@pytest.mark.parametrize("floor", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("sharpness", [0.1, 5.0, 100.0])
def test_the_floor_holds_for_every_sample(floor: float, sharpness: float) -> None:
    weights = (sharpness * torch.randn(32, 64, generator=torch.Generator().manual_seed(0))).softmax(dim=1)
    raised = raise_entropy(weights, floor)
    torch.testing.assert_close(raised.sum(dim=1), torch.ones(32))
    assert (raised >= 0).all()
    assert (entropy(raised) >= floor * math.log(64) - 1e-3).all()


def test_one_channel_s_weight_becomes_no_more_than_the_floor_allows() -> None:
    collapsed = torch.nn.functional.one_hot(torch.tensor([3]), 64).float()
    raised = raise_entropy(collapsed, 0.9)
    assert entropy(raised).item() == pytest.approx(0.9 * math.log(64), abs=1e-3)
    assert raised[0, 3].item() == pytest.approx(0.22, abs=0.01)
    assert raised[0, 0].item() == raised[0, 1].item()


def test_weights_above_the_floor_stay_as_they_are() -> None:
    weights = torch.tensor([[0.3, 0.7], [0.0, 1.0]])
    raised = raise_entropy(weights, 0.5)
    assert torch.equal(raised[0], weights[0])
    assert not torch.equal(raised[1], weights[1])
    assert raise_entropy(weights, 0) is weights


def test_the_gradient_goes_through_the_weights_and_not_the_share() -> None:
    scores = torch.tensor([[4.0, 0.0, 0.0, 0.0]], requires_grad=True)
    weights = scores.softmax(dim=1)
    raised = raise_entropy(weights, 0.9)
    uniform = torch.full((4,), 0.25)
    share = 1 - ((raised - uniform) / (weights - uniform))[0, 0].item()
    (gradient,) = torch.autograd.grad(raised[0, 0], scores, retain_graph=True)
    (plain,) = torch.autograd.grad(weights[0, 0], scores)
    torch.testing.assert_close(gradient, (1 - share) * plain)


@pytest.mark.parametrize("floor", [-0.1, 1.0])
def test_a_floor_that_is_no_part_is_an_error(floor: float) -> None:
    with pytest.raises(InputError, match="expected an entropy floor of at least 0 and below 1, got"):
        raise_entropy(torch.ones(1, 2) / 2, floor)
