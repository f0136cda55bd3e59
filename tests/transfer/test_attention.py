"""The attention modules: parameter counts of the paper's Table 6, weights, gradients."""

import pytest
import torch

from facexfer.transfer.attention import ChannelAttention, SpatialAttention

# (C, H = W) of the taps of the paper's networks; Table 6 gives the counts as 0.41 / 0.82 / 0.06 M.
TAPS = {
    "resnet101": [(256, 56), (512, 28), (1024, 14), (2048, 7)],
    "inception_v3": [(192, 71), (288, 35), (768, 17), (2048, 8)],
    "mobilenet_v2": [(32, 28), (64, 14), (96, 14), (320, 7)],
}


def count(modules) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(
    ("network", "expected"), [("resnet101", 405_475), ("inception_v3", 819_041), ("mobilenet_v2", 56_791)]
)
def test_spatial_parameter_counts(network: str, expected: int) -> None:
    assert count(SpatialAttention(size, size) for _, size in TAPS[network]) == expected


@pytest.mark.parametrize(
    ("network", "expected"), [("resnet101", 204_600), ("inception_v3", 409_638), ("mobilenet_v2", 28_358)]
)
def test_channel_parameter_counts(network: str, expected: int) -> None:
    assert count(ChannelAttention(channels, size, size) for channels, size in TAPS[network]) == expected


def test_spatial_weights_are_a_distribution_over_positions_of_each_sample() -> None:
    weights = SpatialAttention(6, 5)(torch.randn(3, 8, 6, 5))
    assert weights.shape == (3, 6, 5)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=(1, 2)), torch.ones(3))
    assert not torch.allclose(weights[0], weights[1])


def test_channel_weights_are_a_distribution_over_channels_of_each_sample() -> None:
    weights = ChannelAttention(8, 6, 5)(torch.randn(3, 8, 6, 5))
    assert weights.shape == (3, 8)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert not torch.allclose(weights[0], weights[1])


def test_spatial_attention_equals_equation_5_by_hand() -> None:
    attention = SpatialAttention(2, 2)
    with torch.no_grad():
        attention.reduce.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]))
        attention.expand.weight.copy_(torch.tensor([[1.0, 0], [0, 1.0], [0, 0], [0, 0]]))
        attention.expand.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    maps = torch.tensor([[[[1.0, -4.0], [0, 0]], [[3.0, -2.0], [0, 0]]]])
    # Channel means: 2, -3, 0, 0; after the ReLU: 2, 0; logits: 2, 0, 0, 1.
    torch.testing.assert_close(attention(maps).flatten(), torch.tensor([2.0, 0, 0, 1]).softmax(0))


def test_channel_bias_starts_at_zero_and_shifts_the_logits() -> None:
    attention = ChannelAttention(3, 2, 2)
    assert attention.bias.tolist() == [0, 0, 0]
    with torch.no_grad():
        attention.score.weight.zero_()
        attention.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(attention(torch.randn(1, 3, 2, 2))[0], torch.tensor([0.0, 1, 2]).softmax(0))


@pytest.mark.parametrize("attention", [SpatialAttention(4, 4), ChannelAttention(3, 4, 4)])
def test_gradients_reach_every_parameter(attention: ChannelAttention | SpatialAttention) -> None:
    (
        attention(torch.randn(2, 3, 4, 4)) * torch.randn(2, *attention(torch.randn(1, 3, 4, 4)).shape[1:])
    ).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in attention.parameters())


def test_channels_last_maps_give_the_same_weights() -> None:
    maps = torch.randn(2, 8, 6, 6)
    for attention in (SpatialAttention(6, 6), ChannelAttention(8, 6, 6)):
        torch.testing.assert_close(attention(maps.to(memory_format=torch.channels_last)), attention(maps))
