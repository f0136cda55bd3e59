"""IResNet (Deng et al., CVPR 2019; Duta et al., 2020) exactly as InsightFace's arcface_torch, with its names."""

from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule, Tap
from facexfer.backbones.parts.prelu import PReLU
from facexfer.backbones.registry import BACKBONES

_CHANNELS = (64, 128, 256, 512)
_UNITS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}


class IBasicBlock(nn.Module):
    """BatchNorm, 3x3, BatchNorm, PReLU, 3x3 with the stride, BatchNorm, plus the shortcut.

    Args:
        channels_in: Of the input.
        channels_out: Of the output.
        stride: 2 for the first unit of a layer, whose shortcut is convolved, else 1.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.prelu = PReLU(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride == 2:
            shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels_out))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H / stride, W / stride)."""
        residual: Tensor = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(maps))))))
        shortcut: Tensor = self.downsample(maps)
        return residual + shortcut


class IResNet(BackboneModule):
    """Map aligned faces (N, 3, 112, 112) to embeddings (N, 512).

    The state dict has the names of arcface_torch's ``backbone.pth``. As there, the scale of the last BatchNorm is 1
    and is not trained.

    Args:
        name: For `info`.
        units: Residual units of the four layers.
    """

    def __init__(self, name: str, units: tuple[int, int, int, int]) -> None:
        blocks = tuple(
            Tap(f"layer{layer}.{unit}", channels, stride=2**layer)
            for layer, (channels, count) in enumerate(zip(_CHANNELS, units, strict=True), start=1)
            for unit in range(count)
        )
        info = BackboneInfo(
            name=name,
            input_size=(112, 112),
            color_order="RGB",
            mean=(127.5, 127.5, 127.5),
            scale=(1 / 127.5, 1 / 127.5, 1 / 127.5),
            embedding_size=512,
            taps=tuple(Tap(f"layer{layer}", channels, 2**layer) for layer, channels in enumerate(_CHANNELS, start=1)),
            blocks=blocks,
        )
        super().__init__(info)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = PReLU(64)
        self.layer1 = _layer(64, _CHANNELS[0], units[0])
        self.layer2 = _layer(_CHANNELS[0], _CHANNELS[1], units[1])
        self.layer3 = _layer(_CHANNELS[1], _CHANNELS[2], units[2])
        self.layer4 = _layer(_CHANNELS[2], _CHANNELS[3], units[3])
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512)
        self.features.weight.requires_grad_(False)
        self.fixed_parameters = ("features.weight",)

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, 112, 112) as (N, 512)."""
        maps = self.prelu(self.bn1(self.conv1(images)))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        embeddings: Tensor = self.features(self.fc(self.bn2(maps).flatten(1)))
        return embeddings


@BACKBONES.register("iresnet18")
def iresnet18() -> IResNet:
    """Make iresnet18 (r18).

    Example:
        >>> iresnet18().info.embedding_size
        512
    """
    return IResNet("iresnet18", _UNITS["iresnet18"])


@BACKBONES.register("iresnet34")
def iresnet34() -> IResNet:
    """Make iresnet34 (r34)."""
    return IResNet("iresnet34", _UNITS["iresnet34"])


@BACKBONES.register("iresnet50")
def iresnet50() -> IResNet:
    """Make iresnet50 (r50)."""
    return IResNet("iresnet50", _UNITS["iresnet50"])


@BACKBONES.register("iresnet100")
def iresnet100() -> IResNet:
    """Make iresnet100 (r100)."""
    return IResNet("iresnet100", _UNITS["iresnet100"])


def _layer(channels_in: int, channels: int, units: int) -> nn.Sequential:
    first = IBasicBlock(channels_in, channels, stride=2)
    return nn.Sequential(first, *(IBasicBlock(channels, channels, stride=1) for _ in range(units - 1)))
