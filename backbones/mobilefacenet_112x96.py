"""The PyTorch MobileFaceNet for 112x96 crops that is trained on CASIA-WebFace, with its names."""

from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule, Tap
from facexfer.backbones.parts.prelu import PReLU
from facexfer.backbones.parts.stages import stage_blocks, stage_taps
from facexfer.backbones.registry import BACKBONES


class ConvBlock(nn.Module):
    """Convolution and BatchNorm, with PReLU unless it is a linear one.

    Args:
        channels_in: Of the input.
        channels_out: Of the output.
        kernel: (height, width) in pixels.
        stride: In pixels.
        padding: In pixels.
        groups: Of the convolution.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H', W')."""
        filtered: Tensor = self.bn(self.conv(maps))
        return filtered


class ActivatedConvBlock(ConvBlock):
    """`ConvBlock` followed by PReLU with one slope per channel."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, padding, groups)
        self.prelu = PReLU(channels_out)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H', W')."""
        activated: Tensor = self.prelu(super().forward(maps))
        return activated


class Bottleneck(nn.Module):
    """Widen by 1x1, filter depthwise by 3x3, narrow by a linear 1x1; plus the input where the shapes allow it.

    Args:
        channels_in: Of the input.
        channels_out: Of the output.
        stride: Of the depthwise convolution.
        expansion: Channels in between as a multiple of ``channels_in``.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = channels_in * expansion
        self.connect = stride == 1 and channels_in == channels_out
        self.conv = nn.Sequential(
            nn.Conv2d(channels_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            PReLU(width),
            nn.Conv2d(width, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        narrowed: Tensor = self.conv(maps)
        return maps + narrowed if self.connect else narrowed


@BACKBONES.register("mobilefacenet_112x96")
class MobileFaceNet112x96(BackboneModule):
    """Map aligned faces (N, 3, 112, 96) to embeddings (N, 128).

    Example:
        >>> import torch
        >>> MobileFaceNet112x96().eval()(torch.zeros(1, 3, 112, 96)).shape
        torch.Size([1, 128])
    """

    def __init__(self) -> None:
        info = BackboneInfo(
            name="mobilefacenet_112x96",
            input_size=(112, 96),
            color_order="RGB",
            mean=(127.5, 127.5, 127.5),
            scale=(0.0078125, 0.0078125, 0.0078125),
            embedding_size=128,
            taps=(Tap("dw_conv1", 64, 2), Tap("blocks.4", 64, 4), Tap("blocks.11", 128, 8), Tap("blocks.14", 128, 16)),
            blocks=(Tap("dw_conv1", 64, 2), *stage_taps("blocks")),
        )
        super().__init__(info)
        self.conv1 = ActivatedConvBlock(3, 64, (3, 3), 2, 1)
        self.dw_conv1 = ActivatedConvBlock(64, 64, (3, 3), 1, 1, groups=64)
        self.blocks = stage_blocks(Bottleneck)
        self.conv2 = ActivatedConvBlock(128, 512, (1, 1))
        self.linear7 = ConvBlock(512, 512, (7, 6), groups=512)
        self.linear1 = ConvBlock(512, 128, (1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, 112, 96) as (N, 128)."""
        maps = self.conv2(self.blocks(self.dw_conv1(self.conv1(images))))
        embeddings: Tensor = self.linear1(self.linear7(maps)).flatten(1)
        return embeddings
