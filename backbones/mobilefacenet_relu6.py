"""The PyTorch MobileFaceNet variant with ReLU6 in place of PReLU and ImageNet's normalisation, with its names."""

from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule, Tap
from facexfer.backbones.parts.stages import stage_blocks, stage_taps
from facexfer.backbones.registry import BACKBONES


class ConvReLU6(nn.Sequential):
    """Convolution, BatchNorm and ReLU6.

    Args:
        channels_in: Of the input.
        channels_out: Of the output.
        kernel: Side in pixels.
        stride: In pixels.
        groups: Of the convolution.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU6(),
        )


class DepthwiseSeparable(nn.Module):
    """3x3 depthwise and 1x1 convolution, each with BatchNorm and ReLU.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        filtered: Tensor = self.relu(self.bn2(self.pointwise(self.relu(self.bn1(self.depthwise(maps))))))
        return filtered


class InvertedResidual(nn.Module):
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
            ConvReLU6(channels_in, width, 1),
            ConvReLU6(width, width, 3, stride, groups=width),
            nn.Conv2d(width, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        narrowed: Tensor = self.conv(maps)
        return maps + narrowed if self.connect else narrowed


class GlobalDepthwise(nn.Module):
    """7x7 depthwise convolution and BatchNorm.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, 7, 7) to (N, C, 1, 1)."""
        filtered: Tensor = self.bn(self.depthwise(maps))
        return filtered


@BACKBONES.register("mobilefacenet_relu6")
class MobileFaceNetReLU6(BackboneModule):
    """Map aligned faces (N, 3, 112, 112) to embeddings (N, 128).

    Example:
        >>> import torch
        >>> MobileFaceNetReLU6().eval()(torch.zeros(1, 3, 112, 112)).shape
        torch.Size([1, 128])
    """

    def __init__(self) -> None:
        info = BackboneInfo(
            name="mobilefacenet_relu6",
            input_size=(112, 112),
            color_order="RGB",
            mean=(123.675, 116.28, 103.53),
            scale=(1 / 58.395, 1 / 57.12, 1 / 57.375),
            embedding_size=128,
            taps=(
                Tap("dw_conv", 64, 2),
                Tap("features.4", 64, 4),
                Tap("features.11", 128, 8),
                Tap("features.14", 128, 16),
            ),
            blocks=(Tap("dw_conv", 64, 2), *stage_taps("features")),
        )
        super().__init__(info)
        self.conv1 = ConvReLU6(3, 64, 3, 2)
        self.dw_conv = DepthwiseSeparable(64)
        self.features = stage_blocks(InvertedResidual)
        self.conv2 = ConvReLU6(128, 512, 1)
        self.gdconv = GlobalDepthwise(512)
        self.conv3 = nn.Conv2d(512, 128, 1)
        self.bn = nn.BatchNorm2d(128)

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, 112, 112) as (N, 128)."""
        maps = self.gdconv(self.conv2(self.features(self.dw_conv(self.conv1(images)))))
        embeddings: Tensor = self.bn(self.conv3(maps)).flatten(1)
        return embeddings
