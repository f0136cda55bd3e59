"""bfloat16 on CPUs: what it makes slow is computed in float32, and whether the rest pays is measured."""

import time

import torch
from torch import Tensor, nn

from facexfer.backbones import create_backbone


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


def time_of_bfloat16(rounds: int = 3, images: int = 8) -> float:
    """Time a training step of MobileFaceNet on one core under bfloat16 autocast, as a share of that in float32.

    Args:
        rounds: Steps of each, by turns; the fastest of each count.
        images: In a step.

    Returns:
        Below 1 where bfloat16 pays.
    """
    network = create_backbone("mobilefacenet").to(memory_format=torch.channels_last).train()
    spare_slow_gradients(network)
    crops = torch.randn(images, 3, *network.info.input_size).contiguous(memory_format=torch.channels_last)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    threads = torch.get_num_threads()
    # Several threads wait for one another where other programs are at work, which would take minutes.
    torch.set_num_threads(1)
    try:
        for _ in range(rounds + 1):
            for half, taken in seconds.items():
                start = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    embeddings = network(crops)
                embeddings.float().square().sum().backward()
                taken.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    # The first of each warms up.
    return min(seconds[True][1:]) / min(seconds[False][1:])


class _InFloat32(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        device = input.device.type
        if device != "cpu" or not torch.is_grad_enabled() or not torch.is_autocast_enabled(device):
            return super().forward(input)
        half = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return super().forward(input.float()).to(half)
