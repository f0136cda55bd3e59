"""bfloat16 on CPUs: what is slow in it runs in float32, and gives the same."""

import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from facexfer.networks.half_precision import spare_slow_gradients


class GradientTypes(TorchDispatchMode):
    """Notes in which number type convolutions' gradients are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.dtype] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if function is torch.ops.aten.convolution_backward.default:
            self.seen.append(arguments[0].dtype)
        return function(*arguments, **(keywords or {}))


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.Conv2d(8, 8, 3, stride=2, groups=8, bias=False),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 4, 1, stride=2),
    )


def types_of_gradients(network: nn.Module) -> list[torch.dtype]:
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        output = network(images)
    assert output.dtype == torch.bfloat16
    with GradientTypes() as types:
        output.float().square().sum().backward()
    return types.seen


def test_strided_depthwise_gradients_alone_are_in_float32() -> None:
    half, single = torch.bfloat16, torch.float32
    network = make_network()
    assert types_of_gradients(copy.deepcopy(network)) == [half] * 4
    spare_slow_gradients(network)
    assert types_of_gradients(network) == [half, half, single, half]
    reference = make_network()
    reference(torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    for mine, expected in zip(network.parameters(), reference.parameters(), strict=True):
        assert mine.grad.dtype == torch.float32
        torch.testing.assert_close(mine.grad, expected.grad, rtol=0.1, atol=0.05 * expected.grad.abs().max().item())


@pytest.mark.parametrize("training", [True, False])
def test_in_float32_nothing_changes(training: bool) -> None:
    network, images = make_network().train(training), torch.randn(2, 3, 16, 16)
    spared = copy.deepcopy(network)
    spare_slow_gradients(spared)
    assert torch.equal(spared(images), network(images))
    assert spared.state_dict().keys() == network.state_dict().keys()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(spared(images), network(images))
