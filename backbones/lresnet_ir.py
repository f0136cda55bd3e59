"""LResNet{18,34,50,100}E-IR (Deng et al., CVPR 2019) exactly as InsightFace's published MXNet symbols."""

from collections.abc import Iterator

from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule, Tap
from facexfer.backbones.parts.layers import FixedScaleBatchNorm1d
from facexfer.backbones.parts.prelu import PReLU
from facexfer.backbones.registry import BACKBONES

_EPS = 2e-5
_CHANNELS = (64, 128, 256, 512)


class Shortcut(nn.Sequential):
    """The 1x1 convolution of stride 2 and its BatchNorm parallel to the first unit of a stage."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 1, stride=2, bias=False), nn.BatchNorm2d(channels_out, eps=_EPS)
        )


class ImprovedResidual(nn.Module):
    """BatchNorm, 3x3, BatchNorm, PReLU, 3x3 with the stride, BatchNorm, plus the shortcut ("IR" in the name).

    Args:
        channels_in: Of the input.
        channels_out: Of the output.
        stride: 2 for the first unit of a stage, whose shortcut is convolved, else 1.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in, eps=_EPS)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out, eps=_EPS)
        self.prelu = PReLU(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out, eps=_EPS)
        self.shortcut = Shortcut(channels_in, channels_out) if stride == 2 else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        residual: Tensor = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(maps))))))
        shortcut: Tensor = self.shortcut(maps)
        return residual + shortcut


class LResNetIR(BackboneModule):
    """Map aligned faces (N, 3, 112, 112) to embeddings (N, 512).

    The default taps are the ends of the four stages at 56, 28, 14 and 7 positions a side; the paper does not publish
    its own for this network.

    Args:
        name: For `info`.
        units: Residual units of the four stages.
    """

    def __init__(self, name: str, units: tuple[int, int, int, int]) -> None:
        blocks = tuple(
            Tap(f"stage{stage}.{unit}", channels, stride=2**stage)
            for stage, (channels, count) in enumerate(zip(_CHANNELS, units, strict=True), start=1)
            for unit in range(count)
        )
        taps = tuple(Tap(f"stage{stage}", channels, 2**stage) for stage, channels in enumerate(_CHANNELS, start=1))
        info = BackboneInfo(
            name=name,
            input_size=(112, 112),
            color_order="RGB",
            mean=(127.5, 127.5, 127.5),
            scale=(0.0078125, 0.0078125, 0.0078125),
            embedding_size=512,
            taps=taps,
            blocks=blocks,
        )
        super().__init__(info)
        self.units = units
        self.conv = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(64, eps=_EPS)
        self.prelu = PReLU(64)
        self.stage1 = _stage(64, _CHANNELS[0], units[0])
        self.stage2 = _stage(_CHANNELS[0], _CHANNELS[1], units[1])
        self.stage3 = _stage(_CHANNELS[1], _CHANNELS[2], units[2])
        self.stage4 = _stage(_CHANNELS[2], _CHANNELS[3], units[3])
        self.last_bn = nn.BatchNorm2d(512, eps=_EPS)
        self.dropout = nn.Dropout(0.4)
        self.linear = nn.Linear(512 * 7 * 7, 512)
        self.norm = FixedScaleBatchNorm1d(512, eps=_EPS)

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, 112, 112) as (N, 512)."""
        maps = self.prelu(self.bn(self.conv(images)))
        maps = self.stage4(self.stage3(self.stage2(self.stage1(maps))))
        embeddings: Tensor = self.norm(self.linear(self.dropout(self.last_bn(maps)).flatten(1)))
        return embeddings

    def mxnet_names(self) -> dict[str, str]:
        """The published MXNet name of every parameter and statistic.

        Returns:
            Our state-dict key -> the name in the ``.params`` file.
        """
        return dict(_mxnet_names(self.units))


@BACKBONES.register("lresnet34e_ir")
def lresnet34e_ir() -> LResNetIR:
    """Make LResNet34E-IR: 3, 4, 6 and 3 units.

    Example:
        >>> lresnet34e_ir().info.embedding_size
        512
    """
    return LResNetIR("lresnet34e_ir", (3, 4, 6, 3))


@BACKBONES.register("lresnet18e_ir")
def lresnet18e_ir() -> LResNetIR:
    """Make LResNet18E-IR: 2, 2, 2 and 2 units."""
    return LResNetIR("lresnet18e_ir", (2, 2, 2, 2))


@BACKBONES.register("lresnet50e_ir")
def lresnet50e_ir() -> LResNetIR:
    """Make LResNet50E-IR (``model-r50-amf``): 3, 4, 14 and 3 units."""
    return LResNetIR("lresnet50e_ir", (3, 4, 14, 3))


@BACKBONES.register("lresnet100e_ir")
def lresnet100e_ir() -> LResNetIR:
    """Make LResNet100E-IR (``model-r100-ii``): 3, 13, 30 and 3 units."""
    return LResNetIR("lresnet100e_ir", (3, 13, 30, 3))


def _stage(channels_in: int, channels: int, units: int) -> nn.Sequential:
    first = ImprovedResidual(channels_in, channels, stride=2)
    return nn.Sequential(first, *(ImprovedResidual(channels, channels, stride=1) for _ in range(units - 1)))


def _mxnet_names(units: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    yield "conv.weight", "conv0_weight"
    yield from _norm_names("bn", "bn0")
    yield "prelu.weight", "relu0_gamma"
    for stage, count in enumerate(units, start=1):
        for unit in range(count):
            ours, theirs = f"stage{stage}.{unit}", f"stage{stage}_unit{unit + 1}"
            for number in (1, 2, 3):
                yield from _norm_names(f"{ours}.bn{number}", f"{theirs}_bn{number}")
            for number in (1, 2):
                yield f"{ours}.conv{number}.weight", f"{theirs}_conv{number}_weight"
            yield f"{ours}.prelu.weight", f"{theirs}_relu1_gamma"
            if unit == 0:
                yield f"{ours}.shortcut.0.weight", f"{theirs}_conv1sc_weight"
                yield from _norm_names(f"{ours}.shortcut.1", f"{theirs}_sc")
    yield from _norm_names("last_bn", "bn1")
    yield "linear.weight", "pre_fc1_weight"
    yield "linear.bias", "pre_fc1_bias"
    yield "norm.bias", "fc1_beta"
    yield "norm.running_mean", "fc1_moving_mean"
    yield "norm.running_var", "fc1_moving_var"


def _norm_names(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.weight", f"{theirs}_gamma"
    yield f"{ours}.bias", f"{theirs}_beta"
    yield f"{ours}.running_mean", f"{theirs}_moving_mean"
    yield f"{ours}.running_var", f"{theirs}_moving_var"
