"""The distances against slow references written from the equations."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from facexfer.errors import InputError
from facexfer.transfer.terms import channel_distance, delta_distance, feature_distance, spatial_distance

SAMPLES, CHANNELS, HEIGHT, WIDTH = 3, 4, 2, 5


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (SAMPLES, CHANNELS, HEIGHT, WIDTH)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def slow_sum(source: torch.Tensor, target: torch.Tensor, factor: Callable[..., Any]) -> float:
    """1/2 * sum of factor(i, j, y, x) * (F_t - F_s)^2, a mean over samples, one value at a time."""
    total = 0.0
    for i in range(SAMPLES):
        for j in range(CHANNELS):
            for y in range(HEIGHT):
                for x in range(WIDTH):
                    difference = target[i, j, y, x].item() - source[i, j, y, x].item()
                    total += factor(i, j, y, x) * difference**2
    return total / 2 / SAMPLES


def test_feature_distance_equals_equation_3(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    source, target = maps
    expected = slow_sum(source, target, lambda i, j, y, x: 1.0)
    assert feature_distance(source, target).item() == pytest.approx(expected, rel=1e-6)


def test_delta_distance_equals_its_definition(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    source, target = maps
    weights = torch.rand(CHANNELS).softmax(0)
    expected = slow_sum(source, target, lambda i, j, y, x: CHANNELS * weights[j].item() / (HEIGHT * WIDTH))
    assert delta_distance(source, target, weights).item() == pytest.approx(expected, rel=1e-6)


def test_spatial_distance_equals_equation_6_with_the_published_scale(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    source, target = maps
    weights = torch.rand(SAMPLES, HEIGHT * WIDTH).softmax(1).view(SAMPLES, HEIGHT, WIDTH)
    expected = slow_sum(source, target, lambda i, j, y, x: (HEIGHT * WIDTH * weights[i, y, x].item()) ** 2)
    assert spatial_distance(source, target, weights).item() == pytest.approx(expected, rel=1e-6)


def test_channel_distance_equals_equation_8_with_the_published_scale(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    source, target = maps
    weights = torch.rand(SAMPLES, CHANNELS).softmax(1)
    expected = slow_sum(source, target, lambda i, j, y, x: CHANNELS * weights[i, j].item())
    assert channel_distance(source, target, weights).item() == pytest.approx(expected, rel=1e-6)


def test_uniform_attention_is_no_attention(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    source, target = maps
    spatial = torch.full((SAMPLES, HEIGHT, WIDTH), 1 / (HEIGHT * WIDTH))
    channel = torch.full((SAMPLES, CHANNELS), 1 / CHANNELS)
    expected = feature_distance(source, target).item()
    assert spatial_distance(source, target, spatial).item() == pytest.approx(expected, rel=1e-6)
    assert channel_distance(source, target, channel).item() == pytest.approx(expected, rel=1e-6)


def test_equal_maps_are_at_distance_zero(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    source, _ = maps
    assert feature_distance(source, source).item() == 0
    assert delta_distance(source, source, torch.ones(CHANNELS)).item() == 0
    assert spatial_distance(source, source, torch.ones(SAMPLES, HEIGHT, WIDTH)).item() == 0
    assert channel_distance(source, source, torch.ones(SAMPLES, CHANNELS)).item() == 0


def test_distances_are_symmetric_in_source_and_target(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    source, target = maps
    assert feature_distance(source, target).item() == feature_distance(target, source).item()


def test_half_precision_maps_do_not_overflow() -> None:
    source, target = torch.zeros(1, 512, 28, 28).half(), torch.full((1, 512, 28, 28), 10.0).half()
    assert feature_distance(source, target).item() == pytest.approx(512 * 28 * 28 * 100 / 2)


def test_gradients_equal_numerical_ones() -> None:
    source = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    target = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    spatial = torch.rand(2, 2, 2, dtype=torch.float64, requires_grad=True)
    channel = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t, a: spatial_distance(source, t, a), (target, spatial))
    assert torch.autograd.gradcheck(lambda t, a: channel_distance(source, t, a), (target, channel))


def test_maps_of_different_shapes_are_an_error(maps: tuple[torch.Tensor, torch.Tensor]) -> None:
    source, target = maps
    with pytest.raises(InputError, match=r"one shape \(N, C, H, W\), got \(3, 4, 2, 5\) and \(2, 4, 2, 5\)"):
        feature_distance(source, target[:2])


@pytest.mark.parametrize(
    ("distance", "shape", "wanted"),
    [
        (delta_distance, (CHANNELS + 1,), r"\(4,\)"),
        (spatial_distance, (SAMPLES, HEIGHT * WIDTH), r"\(3, 2, 5\)"),
        (channel_distance, (CHANNELS,), r"\(3, 4\)"),
    ],
)
def test_weights_of_a_wrong_shape_are_an_error(
    maps: tuple[torch.Tensor, torch.Tensor], distance: Callable[..., Any], shape, wanted: str
) -> None:
    with pytest.raises(InputError, match=f"expected weights of shape {wanted}"):
        distance(*maps, torch.ones(shape))
