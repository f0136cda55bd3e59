"""The two attention modules of AFA (Xie et al., Neural Networks 2021, Table 1).

Both are computed per sample from the source network's maps. Table 1 leaves open which linear layers carry a bias; the
choice here gives exactly the parameter counts of Table 6.
"""

import torch
from torch import Tensor, nn

from facexfer.transfer.entropy_floor import raise_entropy


class SpatialAttention(nn.Module):
    """Weigh the positions of a feature map (SAM, Eq. 5).

    The maps are averaged over channels, then pass Linear(H*W, H) without bias, ReLU, Linear(H, H*W) with bias and a
    softmax over positions.

    Args:
        height: H of the maps.
        width: W of the maps.

    Example:
        >>> attention = SpatialAttention(7, 7)
        >>> sum(p.numel() for p in attention.parameters())
        735
        >>> attention(torch.rand(2, 16, 7, 7)).shape
        torch.Size([2, 7, 7])
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        positions = height * width
        self.reduce = nn.Linear(positions, height, bias=False)
        self.expand = nn.Linear(height, positions)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute the weights.

        Args:
            maps: (N, C, H, W) of the source network.

        Returns:
            (N, H, W); every sample's weights sum to 1.
        """
        pooled = maps.mean(dim=1)
        logits: Tensor = self.expand(self.reduce(pooled.flatten(1)).relu())
        return logits.softmax(dim=1).view_as(pooled)


class ChannelAttention(nn.Module):
    """Weigh the channels of a feature map (CAM, Eq. 7).

    Every channel's H*W values pass the same Linear(H*W, H) and Linear(H, 1), both without bias and with a ReLU
    between; a learned bias per channel (0 at the start) is added before the softmax over channels.

    Args:
        channels: C of the maps.
        height: H of the maps.
        width: W of the maps.
        temperature: The scores are divided by it; above 1 the weights are flatter. 1 is published.
        entropy_floor: Of every sample's weights (`raise_entropy`), as a part of log C; published: 0, none.

    Example:
        >>> attention = ChannelAttention(2048, 7, 7)
        >>> sum(p.numel() for p in attention.parameters())
        2398
        >>> ChannelAttention(16, 7, 7)(torch.rand(2, 16, 7, 7)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self, channels: int, height: int, width: int, temperature: float = 1.0, entropy_floor: float = 0.0
    ) -> None:
        super().__init__()
        self._temperature, self._entropy_floor = temperature, entropy_floor
        self.reduce = nn.Linear(height * width, height, bias=False)
        self.score = nn.Linear(height, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Compute the weights.

        Args:
            maps: (N, C, H, W) of the source network.

        Returns:
            (N, C); every sample's weights sum to 1.
        """
        scores = self.score(self.reduce(maps.flatten(2)).relu()).squeeze(2)
        return raise_entropy(torch.softmax((scores + self.bias) / self._temperature, dim=1), self._entropy_floor)
