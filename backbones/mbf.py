"""MobileFaceNet as InsightFace has it (``mbf``, ``mbf_large``), with arcface_torch's names.

There are two ends. ``gdc``, a 7x7 depthwise convolution and a linear layer, is that of arcface_torch today. ``fc``, 64
channels and a linear layer over all 7x7 places, is that of ``w600k_mbf.onnx``, the recognition network of the packs
``buffalo_sc`` and ``buffalo_s``.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule, Tap
from facexfer.backbones.parts.prelu import PReLU
from facexfer.backbones.registry import BACKBONES
from facexfer.errors import InputError

# Channels between the 1x1 convolutions of each stage's first block, and of its residual ones.
_DOWN = (128, 256, 512)
_WIDTHS = (128, 256, 256)
_HEADS = ("gdc", "fc")

FLAT = 64 * 7 * 7
"""What the linear layer of the head ``fc`` reads: 64 channels at 7x7 places."""


class LinearBlock(nn.Module):
    """Convolution and BatchNorm.

    Args:
        channels_in: Of the input.
        channels_out: Of the output.
        kernel: Side in pixels.
        stride: In pixels.
        padding: In pixels.
        groups: Of the convolution.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        filtered: Tensor = self.layers(maps)
        return filtered


class ConvBlock(LinearBlock):
    """`LinearBlock` followed by PReLU with one slope per channel."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, padding, groups)
        self.layers.append(PReLU(channels_out))


class DepthWise(nn.Module):
    """Widen by 1x1, filter depthwise by 3x3, narrow by a linear 1x1.

    Args:
        channels_in: Of the input.
        channels_out: Of the output.
        width: Channels in between.
        stride: Of the depthwise convolution.
    """

    def __init__(self, channels_in: int, channels_out: int, width: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvBlock(channels_in, width),
            ConvBlock(width, width, 3, stride, 1, groups=width),
            LinearBlock(width, channels_out),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        narrowed: Tensor = self.layers(maps)
        return narrowed


class ResidualDepthWise(DepthWise):
    """`DepthWise` of stride 1 plus its input."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, channels, width, stride=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return maps + super().forward(maps)


class Residual(nn.Module):
    """Several `ResidualDepthWise`.

    Args:
        channels: C.
        width: Channels in between.
        blocks: How many.
    """

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(ResidualDepthWise(channels, width) for _ in range(blocks)))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        refined: Tensor = self.layers(maps)
        return refined


class GlobalDepthwise(nn.Module):
    """The 7x7 depthwise convolution, the linear layer and its BatchNorm.

    Args:
        embedding_size: D.
    """

    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            LinearBlock(512, 512, 7, groups=512),
            nn.Flatten(),
            nn.Linear(512, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, 512, 7, 7) to (N, D)."""
        embeddings: Tensor = self.layers(maps)
        return embeddings


class MBF(BackboneModule):
    """Map aligned faces (N, 3, 112, 112) to embeddings (N, D).

    Args:
        name: For `info`.
        scale: Channels of the stages as a multiple of 64, 64, 128 and 128.
        blocks: Residual blocks of the four stages; 1 in the first place stands for one plain convolution.
        embedding_size: D.
        head: What follows the last 512 channels: ``gdc`` or ``fc``.

    Raises:
        InputError: If an option is below 1, there are not four numbers of blocks, or the head is neither.

    Example:
        >>> import torch
        >>> MBF("mbf", scale=1).eval()(torch.zeros(1, 3, 112, 112)).shape
        torch.Size([1, 512])
    """

    def __init__(
        self,
        name: str = "mbf",
        scale: int = 2,
        blocks: Sequence[int] = (1, 4, 6, 2),
        embedding_size: int = 512,
        head: str = "gdc",
    ) -> None:
        blocks = tuple(blocks)
        if head not in _HEADS:
            raise InputError(f"expected one of {', '.join(_HEADS)} as head of mbf, got {head!r}")
        if len(blocks) != 4 or min(*blocks, scale, embedding_size) < 1:
            raise InputError(
                f"expected scale, embedding_size and four numbers of blocks, each 1 or more, got scale={scale}, "
                f"blocks={blocks}, embedding_size={embedding_size}; mbf is scale=2, blocks=(1, 4, 6, 2)"
            )
        channels = tuple(base * scale for base in (64, 64, 128, 128))
        info = BackboneInfo(
            name=name,
            input_size=(112, 112),
            color_order="RGB",
            mean=(127.5, 127.5, 127.5),
            scale=(1 / 127.5, 1 / 127.5, 1 / 127.5),
            embedding_size=embedding_size,
            taps=tuple(Tap(f"layers.{2 * stage + 1}", channels[stage], 2 ** (stage + 1)) for stage in range(4)),
            blocks=_blocks(channels, blocks),
        )
        super().__init__(info)
        self.scale = scale
        self.blocks = blocks
        self.head = head
        stem = channels[0]
        self.layers = nn.ModuleList(
            [
                ConvBlock(3, stem, 3, 2, 1),
                # As published: 64 groups whatever the scale.
                ConvBlock(stem, stem, 3, 1, 1, groups=64) if blocks[0] == 1 else Residual(stem, 128, blocks[0]),
            ]
        )
        for stage in range(3):
            self.layers.append(DepthWise(channels[stage], channels[stage + 1], _DOWN[stage], stride=2))
            self.layers.append(Residual(channels[stage + 1], _WIDTHS[stage], blocks[stage + 1]))
        self.conv_sep = ConvBlock(channels[3], 512)
        if head == "gdc":
            self.features: nn.Module = GlobalDepthwise(embedding_size)
        else:
            self.narrow = ConvBlock(512, 64)
            self.fc = nn.Linear(FLAT, embedding_size)
            self.features = nn.BatchNorm1d(embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, 112, 112) as (N, D)."""
        maps = images
        for layer in self.layers:
            maps = layer(maps)
        maps = self.conv_sep(maps)
        if self.head == "fc":
            maps = self.fc(self.narrow(maps).flatten(1))
        embeddings: Tensor = self.features(maps)
        return embeddings


@BACKBONES.register("mbf")
def mbf(scale: int = 2, blocks: Sequence[int] = (1, 4, 6, 2), embedding_size: int = 512, head: str = "gdc") -> MBF:
    """Make InsightFace's ``mbf``, or a relative of it."""
    return MBF("mbf", scale, blocks, embedding_size, head)


@BACKBONES.register("mbf_large")
def mbf_large(embedding_size: int = 512, head: str = "gdc") -> MBF:
    """Make InsightFace's ``mbf_large``."""
    return MBF("mbf_large", 4, (2, 8, 12, 4), embedding_size, head)


def _blocks(channels: tuple[int, ...], blocks: tuple[int, ...]) -> tuple[Tap, ...]:
    taps = [] if blocks[0] > 1 else [Tap("layers.1", channels[0], 2)]
    for stage in range(4):
        if stage:
            taps.append(Tap(f"layers.{2 * stage}", channels[stage], 2 ** (stage + 1)))
        if stage or blocks[0] > 1:
            taps.extend(
                Tap(f"layers.{2 * stage + 1}.layers.{block}", channels[stage], 2 ** (stage + 1))
                for block in range(blocks[stage])
            )
    return tuple(taps)
