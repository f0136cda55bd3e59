"""What bfloat16 makes slow on CPUs, computed in float32 there."""

import torch
from torch import Tensor, nn


def spare_slow_gradients(network: nn.Module) -> None:
    """Let strided depthwise convolutions run in float32 where a CPU trains under bfloat16 autocast.

    oneDNN has no fast kernel for the gradient of their input in bfloat16: on a CPU with AVX-512 it takes 13 to 70 times
    as long as in float32, and the three of MobileFaceNet took a fifth of the step. Everywhere else they compute what
    they did before.

    Args:
        network: Changed in place; entries and weights stay.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, groups=4), nn.Conv2d(4, 8, 1))
        >>> spare_slow_gradients(network)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     [layer(torch.ones(1, 4, 8, 8)).dtype for layer in network]
        [torch.bfloat16, torch.bfloat16]
    """
    for module in network.modules():
        if type(module) is nn.Conv2d and module.groups == module.in_channels > 1 and max(module.stride) > 1:
            module.__class__ = _InFloat32


class _InFloat32(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        device = input.device.type
        if device != "cpu" or not torch.is_grad_enabled() or not torch.is_autocast_enabled(device):
            return super().forward(input)
        half = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return super().forward(input.float()).to(half)
