"""The stages that the PyTorch MobileFaceNets share, from the paper's table (Chen et al., CCBR 2018)."""

from collections.abc import Callable

from torch import nn

from facexfer.backbones.parts.info import Tap

# (expansion, channels, blocks, stride of the first block)
STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def stage_taps(prefix: str) -> tuple[Tap, ...]:
    """The tap at the end of each block.

    Args:
        prefix: The name of the sequence of blocks.

    Returns:
        Fifteen taps, shallow to deep.

    Example:
        >>> stage_taps("blocks")[-1]
        Tap(layer='blocks.14', channels=128, stride=16)
    """
    taps: list[Tap] = []
    stride = 2
    for _, channels, count, first_stride in STAGES:
        stride *= first_stride
        taps.extend([Tap(f"{prefix}.{len(taps) + index}", channels, stride) for index in range(count)])
    return tuple(taps)


def stage_blocks(make: Callable[[int, int, int, int], nn.Module]) -> nn.Sequential:
    """Make the blocks of all stages, from 64 channels on.

    Args:
        make: Of channels in, channels out, stride and expansion makes a block.
    """
    blocks: list[nn.Module] = []
    channels_in = 64
    for expansion, channels, count, stride in STAGES:
        for index in range(count):
            blocks.append(make(channels_in, channels, stride if index == 0 else 1, expansion))
            channels_in = channels
    return nn.Sequential(*blocks)
