"""MobileFaceNet (Chen et al., CCBR 2018) exactly as InsightFace's published ``model-y1``, 1.2 M parameters."""

from collections.abc import Iterator

from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule, Tap
from facexfer.backbones.parts.layers import FixedScaleBatchNorm1d
from facexfer.backbones.parts.prelu import PReLU
from facexfer.backbones.registry import BACKBONES

# The published symbol: MXNet's default everywhere but in the last layer.
_EPS = 1e-3
_LAST_EPS = 2e-5


class ConvBlock(nn.Sequential):
    """Convolution, BatchNorm and, unless it is a linear one, PReLU.

    Args:
        channels_in: Of the input.
        channels_out: Of the output.
        kernel: Side in pixels.
        stride: In pixels.
        padding: In pixels.
        groups: ``channels_out`` makes it depthwise.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(channels_out, eps=_EPS),
        )


class ActivatedConvBlock(ConvBlock):
    """`ConvBlock` followed by PReLU with one slope per channel."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, padding, groups)
        self.append(PReLU(channels_out))


class Bottleneck(nn.Module):
    """Widen by 1x1, filter depthwise by 3x3, narrow by a linear 1x1.

    Args:
        channels_in: Of the input.
        width: Channels in between.
        channels_out: Of the output.
        stride: Of the depthwise convolution.
    """

    def __init__(self, channels_in: int, width: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.sep = ActivatedConvBlock(channels_in, width, 1)
        self.dw = ActivatedConvBlock(width, width, 3, stride, 1, groups=width)
        self.proj = ConvBlock(width, channels_out, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        narrowed: Tensor = self.proj(self.dw(self.sep(maps)))
        return narrowed


class ResidualBottleneck(Bottleneck):
    """`Bottleneck` of stride 1 plus its input."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, channels, stride=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return maps + super().forward(maps)


def _stage(channels_in: int, down_width: int, channels: int, width: int, residuals: int) -> nn.Sequential:
    down = Bottleneck(channels_in, down_width, channels, stride=2)
    return nn.Sequential(down, *(ResidualBottleneck(channels, width) for _ in range(residuals)))


# (channels per channel of the stem, residual blocks) of stages 2 to 4; stage 1 is the stem.
_STAGES = ((1, 4), (2, 6), (2, 2))


def _blocks(stem: int) -> tuple[Tap, ...]:
    return (
        Tap("stem", channels=stem, stride=2),
        *(
            Tap(f"stage{number}.{block}", stem * factor, stride=2**number)
            for number, (factor, residuals) in enumerate(_STAGES, start=2)
            for block in range(residuals + 1)
        ),
    )


def _taps(stem: int) -> tuple[Tap, ...]:
    later = (Tap(f"stage{number}", stem * factor, 2**number) for number, (factor, _) in enumerate(_STAGES, start=2))
    return (Tap("stem", channels=stem, stride=2), *later)


@BACKBONES.register("mobilefacenet")
class MobileFaceNet(BackboneModule):
    """Map aligned faces (N, 3, 112, 112) to embeddings (N, 128).

    The default taps are the ends of the four stages at 56, 28, 14 and 7 positions a side; the paper does not publish
    its own for this network.

    Example:
        >>> import torch
        >>> MobileFaceNet().eval()(torch.zeros(1, 3, 112, 112)).shape
        torch.Size([1, 128])
    """

    name = "mobilefacenet"
    stem_channels = 64

    def __init__(self) -> None:
        stem = self.stem_channels
        info = BackboneInfo(
            name=self.name,
            input_size=(112, 112),
            color_order="RGB",
            mean=(127.5, 127.5, 127.5),
            scale=(0.0078125, 0.0078125, 0.0078125),
            embedding_size=128,
            taps=_taps(stem),
            blocks=_blocks(stem),
        )
        super().__init__(info)
        self.stem = nn.Sequential(
            ActivatedConvBlock(3, stem, 3, stride=2, padding=1),
            ActivatedConvBlock(stem, stem, 3, padding=1, groups=stem),
        )
        self.stage2 = _stage(stem, 2 * stem, stem, 2 * stem, residuals=_STAGES[0][1])
        self.stage3 = _stage(stem, 4 * stem, 2 * stem, 4 * stem, residuals=_STAGES[1][1])
        self.stage4 = _stage(2 * stem, 8 * stem, 2 * stem, 4 * stem, residuals=_STAGES[2][1])
        self.sep = ActivatedConvBlock(2 * stem, 8 * stem, 1)
        self.pool = ConvBlock(8 * stem, 8 * stem, 7, groups=8 * stem)
        self.linear = nn.Linear(8 * stem, 128)
        self.norm = FixedScaleBatchNorm1d(128, eps=_LAST_EPS)

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, 112, 112) as (N, 128)."""
        maps = self.stage4(self.stage3(self.stage2(self.stem(images))))
        embeddings: Tensor = self.norm(self.linear(self.pool(self.sep(maps)).flatten(1)))
        return embeddings

    @staticmethod
    def mxnet_names() -> dict[str, str]:
        """The published MXNet name of every parameter and statistic.

        Returns:
            Our state-dict key -> the name in ``model-0000.params``.
        """
        return dict(_mxnet_names())


@BACKBONES.register("mobilefacenet_slim")
class SlimMobileFaceNet(MobileFaceNet):
    """`MobileFaceNet` with three eighths of the channels and the same embeddings: 0.18 M parameters, for the demo.

    Example:
        >>> sum(parameter.numel() for parameter in SlimMobileFaceNet().parameters())
        176656
    """

    name = "mobilefacenet_slim"
    stem_channels = 24


def _mxnet_names() -> Iterator[tuple[str, str]]:
    yield from _block_names("stem.0", "conv_1", activated=True)
    yield from _block_names("stem.1", "conv_2_dw", activated=True)
    for number, (_, residuals) in enumerate(_STAGES, start=2):
        theirs = [f"dconv_{number}{number + 1}", *(f"res_{number + 1}_block{block}" for block in range(residuals))]
        for block, name in enumerate(theirs):
            yield from _block_names(f"stage{number}.{block}.sep", f"{name}_conv_sep", activated=True)
            yield from _block_names(f"stage{number}.{block}.dw", f"{name}_conv_dw", activated=True)
            yield from _block_names(f"stage{number}.{block}.proj", f"{name}_conv_proj", activated=False)
    yield from _block_names("sep", "conv_6sep", activated=True)
    yield from _block_names("pool", "conv_6dw7_7", activated=False)
    yield "linear.weight", "fc1_weight"
    yield "linear.bias", "pre_fc1_bias"
    yield "norm.bias", "fc1_beta"
    yield "norm.running_mean", "fc1_moving_mean"
    yield "norm.running_var", "fc1_moving_var"


def _block_names(ours: str, theirs: str, *, activated: bool) -> Iterator[tuple[str, str]]:
    yield f"{ours}.0.weight", f"{theirs}_conv2d_weight"
    yield f"{ours}.1.weight", f"{theirs}_batchnorm_gamma"
    yield f"{ours}.1.bias", f"{theirs}_batchnorm_beta"
    yield f"{ours}.1.running_mean", f"{theirs}_batchnorm_moving_mean"
    yield f"{ours}.1.running_var", f"{theirs}_batchnorm_moving_var"
    if activated:
        yield f"{ours}.2.weight", f"{theirs}_relu_gamma"
