"""A frozen network behind a small trained block that turns images of another spectrum into what it knows (PDT).

George, Mohammadi, Marcel, *Prepended Domain Transformer*, IEEE TIFS 2022 (arXiv 2210.06529). As in the paper, the
block has parallel convolutions, attention over channels and over places (CBAM), and a convolution back to three
channels; the widths are ours, about 1,400 parameters.
"""

import torch
from torch import Tensor, nn

from facexfer.backbones.adapted import AdaptedNetwork
from facexfer.backbones.parts.info import BackboneModule

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


class PrefixedNetwork(AdaptedNetwork):
    """The block and the network behind it.

    Args:
        network: Any of ours, with its weights.
    """

    added = "prefix"

    def __init__(self, network: BackboneModule) -> None:
        super().__init__("pdt", network)
        self.prefix = DomainTransformer()

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, H, W) as (N, D)."""
        embeddings: Tensor = self.network(self.prefix(images))
        return embeddings
