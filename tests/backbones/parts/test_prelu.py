"""The faster backward pass gives torch's gradients."""

import pytest
import torch
from torch import nn

from facexfer.backbones.parts.prelu import PReLU


def gradients(
    layer: nn.PReLU, images: torch.Tensor, towards: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = images.clone().requires_grad_()
    output = layer(images)
    output.backward(towards)
    return output, images.grad, layer.weight.grad


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (4, 3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("slopes", [1, 3])
def test_gradients_are_those_of_torch(shape: tuple[int, ...], layout: torch.memory_format, slopes: int) -> None:
    torch.manual_seed(0)
    images, towards = torch.randn(shape), torch.randn(shape)
    if len(shape) == 4:
        images, towards = (each.contiguous(memory_format=layout) for each in (images, towards))
    with torch.no_grad():
        images[0, 0] = 0.0
    ours, theirs = PReLU(slopes), nn.PReLU(slopes)
    with torch.no_grad():
        theirs.weight.copy_(torch.linspace(-0.5, 0.5, slopes))
    ours.load_state_dict(theirs.state_dict())
    for mine, reference in zip(gradients(ours, images, towards), gradients(theirs, images, towards), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-6, atol=1e-6)


def test_the_slope_alone_can_be_trained() -> None:
    ours, theirs = PReLU(3), nn.PReLU(3)
    images = torch.randn(2, 3, 4, 4)
    for layer in (ours, theirs):
        layer(images).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_evaluation_and_half_precision_are_torchs_own() -> None:
    layer, images = PReLU(3), torch.randn(2, 3, 4, 4)
    assert layer(images).grad_fn.name() == "_InPassesBackward"
    assert layer.eval()(images).grad_fn.name() == "PreluKernelBackward0"
    with torch.no_grad():
        assert layer.train()(images).grad_fn is None
    assert layer.bfloat16()(images.bfloat16()).dtype == torch.bfloat16


def test_torch_fx_traces_it() -> None:
    """DELTA's channel weights are found on a traced network."""
    traced = torch.fx.symbolic_trace(PReLU(3).train())
    images = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(traced(images), nn.PReLU(3)(images))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast_it_is_as_fast_and_as_exact_as_bfloat16_allows(dtype: torch.dtype) -> None:
    """bf16-mixed: weights stay in float32, what comes from a convolution is bfloat16."""
    torch.manual_seed(0)
    images, towards = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8).bfloat16()
    ours, theirs = PReLU(3), nn.PReLU(3)
    reference = gradients(theirs, images.bfloat16().float(), towards.float())
    with torch.autocast("cpu", torch.bfloat16):
        output = ours(entered := images.to(dtype).requires_grad_())
    assert output.grad_fn.name() == "_InPassesBackward"
    output.backward(towards)
    assert (output.dtype, entered.grad.dtype, ours.weight.grad.dtype) == (torch.bfloat16, dtype, torch.float32)
    torch.testing.assert_close(output.float(), reference[0], rtol=0.01, atol=0.01)
    torch.testing.assert_close(entered.grad.float(), reference[1], rtol=0.01, atol=0.01)
    # Each of 256 products is rounded to eight bits.
    torch.testing.assert_close(ours.weight.grad, reference[2], rtol=0.01, atol=256**0.5 * 2**-8)
