"""A frozen network whose early maps are modulated, image by image, for another spectrum (CAIM).

George, Marcel, *From Modalities to Styles: Rethinking the Domain Gap in Heterogeneous Face Recognition*, IEEE T-BIOM
2024 (arXiv 2404.14247). A spectrum is taken as a style: a map F (C, H, W) of an image has the mean mu and the standard
deviation sigma of each channel, a small shared layer turns them into gamma and beta, and

    F' = F + gamma * (F - mu) / sigma + beta,                                                                  (1)

for images of the new spectrum alone; those of the source's own go through the network as it was. As in the paper, the
blocks stand after early stages. Which statistics the shared layer reads, its width and the start at gamma = beta = 0
are ours.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from facexfer.backbones.adapted import AdaptedNetwork
from facexfer.backbones.parts.info import BackboneModule

_PLACES = 3
_EPSILON = 1e-5


class StyleModulation(nn.Module):
    """One block, Eq. 1: maps (N, C, H, W) -> maps of the same shape; at first it changes nothing.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = nn.Linear(2 * channels, max(8, channels // 4))
        self.style = nn.Linear(max(8, channels // 4), 2 * channels)
        nn.init.zeros_(self.style.weight)
        nn.init.zeros_(self.style.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Add the modulated maps to the maps."""
        mean = maps.mean(dim=(2, 3), keepdim=True)
        deviation = ((maps - mean).square().mean(dim=(2, 3), keepdim=True) + _EPSILON).sqrt()
        style = self.style(torch.relu(self.shared(torch.cat([mean, deviation], dim=1).flatten(1))))
        gamma, beta = style[:, :, None, None].chunk(2, dim=1)
        modulated: Tensor = maps + gamma * (maps - mean) / deviation + beta
        return modulated


class ModulatedNetwork(AdaptedNetwork):
    """A network with a block after each of its first three default taps.

    Args:
        network: Any of ours, with its weights.
    """

    added = "modulations"

    def __init__(self, network: BackboneModule) -> None:
        super().__init__("caim", network)
        places = network.info.taps[:_PLACES]
        self._layers = tuple(tap.layer for tap in places)
        self.modulations = nn.ModuleList(StyleModulation(tap.channels) for tap in places)

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, H, W) as (N, D)."""
        # Hooks for this call alone: lasting ones would go on pointing at these blocks in a copy of the network.
        hooks = [
            self.network.get_submodule(layer).register_forward_hook(_after(block))
            for layer, block in zip(self._layers, self.modulations, strict=True)
        ]
        try:
            embeddings: Tensor = self.network(images)
        finally:
            for hook in hooks:
                hook.remove()
        return embeddings


def _after(block: nn.Module) -> Callable[[nn.Module, object, Tensor], Tensor]:
    def change(module: nn.Module, inputs: object, maps: Tensor) -> Tensor:
        changed: Tensor = block(maps)
        return changed

    return change
