"""A RetinaFace of real weights in InsightFace's ONNX form, for tests: ``retinaface_onnx.py WEIGHTS.pth OUT.onnx``.

The network of Deng et al. (RetinaFace, CVPR 2020) over MobileNet 0.25, as its well-known PyTorch version has it:
two square anchors a cell at strides 8, 16 and 32, boxes and points as offsets from the anchors' middles in parts of
their sides. InsightFace's `RetinaFace` class wants distances from a cell's corner in strides, scores after the softmax
and pixels as (RGB - 127.5) / 128 instead: the last steps here turn the one into the other, exactly.
"""

import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
SIDES = ((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))
# (out, stride) of the depthwise blocks, stage by stage.
BLOCKS = (
    ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)),
    ((128, 2), (128, 1), (128, 1), (128, 1), (128, 1), (128, 1)),
    ((256, 2), (256, 1)),
)


def convolve(
    inside: int, outside: int, kernel: int, stride: int = 1, leak: float | None = None, groups: int = 1
) -> nn.Sequential:
    """Convolution, BatchNorm and, where there is a leak, LeakyReLU."""
    layers = [
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outside)
    ]  # fmt: skip
    return nn.Sequential(*layers, *([nn.LeakyReLU(leak)] if leak is not None else []))


def separable(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *convolve(inside, inside, 3, stride, 0.1, groups=inside), *convolve(inside, outside, 1, leak=0.1)
    )


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = 8
        for number, blocks in enumerate(BLOCKS, start=1):
            stage = [convolve(3, width, 3, 2, 0.1)] if number == 1 else []
            for outside, stride in blocks:
                stage.append(separable(width, outside, stride))
                width = outside
            setattr(self, f"stage{number}", nn.Sequential(*stage))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = []
        for number in (1, 2, 3):
            images = getattr(self, f"stage{number}")(images)
            maps.append(images)
        return maps


class Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.output1, self.output2, self.output3 = (convolve(width, 64, 1, leak=0.1) for width in (64, 128, 256))
        self.merge1, self.merge2 = (convolve(64, 64, 3, leak=0.1) for _ in range(2))

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.output1(maps[0]), self.output2(maps[1]), self.output3(maps[2])
        middle = self.merge2(middle + functional.interpolate(coarse, size=middle.shape[2:]))
        fine = self.merge1(fine + functional.interpolate(middle, size=fine.shape[2:]))
        return fine, middle, coarse


class Context(nn.Module):
    """Three receptive fields side by side (SSH)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3X3 = convolve(64, 32, 3, leak=None)
        self.conv5X5_1 = convolve(64, 16, 3, leak=0.1)
        self.conv5X5_2 = convolve(16, 16, 3, leak=None)
        self.conv7X7_2 = convolve(16, 16, 3, leak=0.1)
        self.conv7x7_3 = convolve(16, 16, 3, leak=None)

    def forward(self, maps: Tensor) -> Tensor:
        shared = self.conv5X5_1(maps)
        return torch.cat(
            [self.conv3X3(maps), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared))], dim=1
        ).relu()


class Answer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Conv2d(64, 2 * width, 1)
        self.width = width

    def forward(self, maps: Tensor) -> Tensor:
        answer: Tensor = self.conv1x1(maps)
        return answer.permute(0, 2, 3, 1).reshape(-1, self.width)


class RetinaFace(nn.Module):
    """The network with InsightFace's nine outputs: scores, boxes and points, each at three strides."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fpn = Body(), Pyramid()
        self.ssh1, self.ssh2, self.ssh3 = Context(), Context(), Context()
        self.ClassHead = nn.ModuleList(Answer(2) for _ in STRIDES)
        self.BboxHead = nn.ModuleList(Answer(4) for _ in STRIDES)
        self.LandmarkHead = nn.ModuleList(Answer(10) for _ in STRIDES)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        # From (RGB - 127.5) / 128 to BGR less the mean that the weights were trained with.
        pixels = (images * 128 + 127.5).flip(1) - torch.tensor([104.0, 117.0, 123.0]).reshape(1, 3, 1, 1)
        scores, boxes, points = [], [], []
        contexts = (self.ssh1, self.ssh2, self.ssh3)
        for level, maps in enumerate(self.fpn(self.body(pixels))):
            maps = contexts[level](maps)
            scores.append(self.ClassHead[level](maps).softmax(dim=1)[:, 1:])
            cells = maps.shape[2] * maps.shape[3]
            # In strides: an anchor's side; InsightFace measures from the corner of a cell, not from its middle.
            side = torch.tensor(SIDES[level]).repeat(cells).reshape(-1, 1) / STRIDES[level]
            box = self.BboxHead[level](maps)
            middle, half = 0.5 + 0.1 * side * box[:, :2], side * (0.2 * box[:, 2:]).exp() / 2
            boxes.append(torch.cat([half - middle, half + middle], dim=1))
            points.append(0.5 + 0.1 * side * self.LandmarkHead[level](maps))
        return *scores, *boxes, *points


def write_retinaface(weights: str | Path, path: str | Path, size: tuple[int, int] = (640, 640)) -> Path:
    """Write the ONNX file.

    Args:
        weights: ``retinaface_mobilenet0.25_Final.pth``.
        path: The ONNX file to write.
        size: (height, width) of the input in pixels.

    Returns:
        The path.
    """
    state = torch.load(weights, map_location="cpu", weights_only=True)
    network = RetinaFace().eval()
    network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    names = [f"{kind}_{stride}" for kind in ("score", "bbox", "kps") for stride in STRIDES]
    with warnings.catch_warnings():
        # The older exporter, which says that it is the older one, takes a tenth of the newer one's time.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, 3, *size),), str(path), input_names=["image"], output_names=names,
            opset_version=17, dynamo=False,
        )  # fmt: skip
    return Path(path)


if __name__ == "__main__":
    write_retinaface(sys.argv[1], sys.argv[2])
