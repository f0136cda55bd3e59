"""A frozen network behind a small trained block that turns images of another spectrum into what it knows (PDT).

George, Mohammadi, Marcel, *Prepended Domain Transformer*, IEEE TIFS 2022 (arXiv 2210.06529). As in the paper, the
block has parallel convolutions, attention over channels and over places (CBAM), and a convolution back to three
channels; the widths are ours, about 1,400 parameters.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from facexfer.backbones.checkpoints.containers import tensor_groups
from facexfer.backbones.checkpoints.form import file_form
from facexfer.backbones.checkpoints.torch_files import read_content
from facexfer.backbones.parts.info import BackboneModule, Tap

PREFIXED = "pdt:"
"""How the names of such networks start; the frozen network's own name follows."""

_BLOCK, _NETWORK = "prefix", "network"
_WIDTH, _SQUEEZED = 8, 6
_KERNELS = (1, 3, 5)


class DomainTransformer(nn.Module):
    """The block: normalised images (N, 3, H, W) -> images of the same shape; at first it changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        channels = _WIDTH * len(_KERNELS)
        self.branches = nn.ModuleList(nn.Conv2d(3, _WIDTH, size, padding=size // 2) for size in _KERNELS)
        self.squeeze = nn.Conv2d(channels, _SQUEEZED, 1)
        self.excite = nn.Conv2d(_SQUEEZED, channels, 1)
        self.places = nn.Conv2d(2, 1, 7, padding=3)
        self.back = nn.Conv2d(channels, 3, 1)
        nn.init.zeros_(self.back.weight)
        nn.init.zeros_(self.back.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Add what the block makes of the images to them."""
        features = torch.relu(torch.cat([branch(images) for branch in self.branches], dim=1))
        pooled = (features.mean(dim=(2, 3), keepdim=True), features.amax(dim=(2, 3), keepdim=True))
        features = features * torch.sigmoid(sum(self.excite(torch.relu(self.squeeze(each))) for each in pooled))
        overview = torch.cat([features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)], dim=1)
        changed: Tensor = images + self.back(features * torch.sigmoid(self.places(overview)))
        return changed


class PrefixedNetwork(BackboneModule):
    """The block and the network behind it; the latter stays in eval mode, so that its statistics never move.

    Args:
        network: Any of ours, with its weights.
    """

    def __init__(self, network: BackboneModule) -> None:
        info = network.info
        taps, blocks = (
            tuple(Tap(f"{_NETWORK}.{tap.layer}", tap.channels, tap.stride) for tap in each)
            for each in (info.taps, info.blocks)
        )
        super().__init__(replace(info, name=f"{PREFIXED}{info.name}", taps=taps, blocks=blocks))
        self.prefix = DomainTransformer()
        self.network = network.eval()
        self._classifier = network._classifier

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, H, W) as (N, D)."""
        embeddings: Tensor = self.network(self.prefix(images))
        return embeddings

    def train(self, mode: bool = True) -> "PrefixedNetwork":
        """Set the block's mode."""
        super().train(mode)
        self.network.eval()
        return self


def has_prefix(path: Path) -> bool:
    """Whether a file holds the block and a network, as a run with one saves it.

    Raises:
        InputError: If the file is missing or damaged.
    """
    if file_form(path) in ("onnx", "mxnet", "symbol"):
        return False
    groups = tensor_groups(read_content(path)).values()
    return any(name.startswith(f"{_BLOCK}.") for group in groups for name in group)
