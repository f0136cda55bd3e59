"""A classifier for a source network that came without one."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.transfer.precision import wide


class PrototypeClassifier(nn.Module):
    """Compare embeddings with one prototype per class: ``scale * cos``.

    Face checkpoints seldom carry the classifier that they were trained with; the unit class means of the source's own
    embeddings of some images stand in for it.

    Args:
        prototypes: (K, D), of any length; they are trained on from there.
        scale: Multiplies the cosines.

    Example:
        >>> classifier = PrototypeClassifier(torch.eye(2), scale=4.0)
        >>> classifier(torch.tensor([[3.0, 0.0]])).tolist()
        [[4.0, 0.0]]
    """

    def __init__(self, prototypes: Tensor, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(prototypes))
        self.scale = scale

    def forward(self, embeddings: Tensor) -> Tensor:
        """Compute logits (N, K), in float32 at least, of embeddings (N, D)."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines = F.linear(F.normalize(wide(embeddings)), F.normalize(wide(self.weight)))
            return self.scale * cosines
