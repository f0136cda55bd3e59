"""Selective projection decay: two steps by hand, which layers are held back, and a run that is resumed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_faces import write_small_set
from torch import nn

from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.recipe import Recipe
from facexfer.transfer import methods
from facexfer.transfer.methods.spd import SelectiveProjectionSGD


def stepped(
    strength: float,
    gradients: list[float],
    start: float = 1.0,
    source: float = 0.0,
    momentum: float = 0.9,
    size: int = 1,
) -> torch.Tensor:
    weights = nn.Parameter(torch.full((size,), start, dtype=torch.float64))
    sources: dict[torch.Tensor, torch.Tensor] = {weights: torch.full((size,), source, dtype=torch.float64)}
    optimizer = SelectiveProjectionSGD([{"params": [weights]}], sources, 0.1, momentum, strength)
    for gradient in gradients:
        weights.grad = torch.full((size,), gradient, dtype=torch.float64)
        optimizer.step()
    return weights.detach()


@pytest.mark.parametrize(("strength", "expected"), [(1.0, 1.10), (0.5, 1.12), (1e-9, 1.14)])
def test_momentum_that_overshoots_is_taken_back(strength: float, expected: float) -> None:
    # First outwards, 1 -> 1.1, freely. Then the gradient turns, momentum -0.9 + 0.5 goes on to 1.14: r = 0.04 / 1.14.
    assert stepped(strength, [-1.0, 0.5]).item() == pytest.approx(expected)


def test_a_step_that_lowers_the_loss_on_its_way_out_is_free() -> None:
    assert stepped(1.0, [-1.0, -1.0]).item() == pytest.approx(1.0 + 0.1 + 0.19)


def test_a_step_towards_the_source_is_free() -> None:
    assert stepped(1.0, [1.0]).item() == pytest.approx(0.9)


def test_a_strong_decay_ends_at_the_source_and_not_beyond() -> None:
    assert stepped(1e6, [-1.0, 0.5], source=0.25).item() == pytest.approx(0.25)


def test_layers_are_judged_one_by_one_and_a_head_without_a_source_is_left_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    ours = [nn.Parameter(torch.randn(3, 4, generator=generator)) for _ in range(3)]
    plain = [nn.Parameter(each.detach().clone()) for each in ours]
    sources: dict[torch.Tensor, torch.Tensor] = {each: torch.randn(3, 4, generator=generator) for each in ours[:2]}
    first = SelectiveProjectionSGD([{"params": ours}], sources, 0.1, 0.9, 1.0)
    second = torch.optim.SGD(plain, lr=0.1, momentum=0.9)
    for number in range(3):
        before = [each.detach().clone() for each in ours]
        for each, other in zip(ours, plain, strict=True):
            each.grad = torch.randn(3, 4, generator=generator)
            other.grad = each.grad.clone()
            other.data.copy_(each.data)
        first.step()
        second.step()
        for each, other, old in zip(ours[:2], plain[:2], before[:2], strict=True):
            source = sources[each]
            is_back = (each.grad * (old - source)).sum() > 0
            grown = (other - source).norm() - (old - source).norm()
            ratio = max(0.0, (grown / (other - source).norm()).item()) if is_back else 0.0
            assert torch.allclose(each, other - ratio * (other - source), atol=1e-6), number
        assert torch.equal(ours[2], plain[2])


def test_a_strength_of_zero_is_an_error() -> None:
    with pytest.raises(InputError, match="spd: expected a positive strength, got 0"):
        methods.create("spd", strength=0.0)


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(
    stop_at: Callable[[int], Any],
    recipe_for: Callable[..., Recipe],
    assert_same_run: Callable[[Path, Path], None],
    tmp_path: Path,
) -> None:
    manifest = write_small_set(tmp_path / "faces", train=2, val=2, images=4)
    recipe = recipe_for(manifest, method={"name": "spd", "strength": 0.5}, evaluation={"untouched": False})
    train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "stopped", on_step=stop_at(3))
    train(recipe, tmp_path / "stopped", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
