"""Pixels to network input, by the facts of the backbone."""

import torch
from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo


class Normalize(nn.Module):
    """Map RGB images 0..255 (uint8 or float) to what a backbone was trained on: ``(image - mean) * scale``.

    The colour order is swapped for a BGR network. It runs on whatever device it was moved to, so batches travel as
    bytes.

    Args:
        info: The backbone's facts.

    Example:
        >>> info = BackboneInfo("n", (2, 2), "RGB", (127.5,) * 3, (1 / 128,) * 3, 4, (), ())
        >>> Normalize(info)(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).max().item()
        0.99609375
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, info: BackboneInfo) -> None:
        super().__init__()
        self.swap_colors = info.color_order == "BGR"
        self.register_buffer("mean", torch.tensor(info.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(info.scale).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images.

        Args:
            images: (N, 3, H, W), RGB, 0..255, any dtype.

        Returns:
            (N, 3, H, W) in the buffers' dtype.
        """
        images = images.to(self.mean.dtype)
        if self.swap_colors:
            images = images.flip(1)
        return (images - self.mean) * self.scale
