"""The one layer that MXNet face networks have and torch has not; and whether a network has BatchNorm at all."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FixedScaleBatchNorm1d(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over (N, D) whose scale is fixed to 1 and whose shift is learned (MXNet's ``fix_gamma=True``).

    Args:
        features: D.
        eps: Added to the variance.

    Example:
        >>> layer = FixedScaleBatchNorm1d(2, eps=0.0)
        >>> [name for name, _ in layer.named_parameters()]
        ['bias']
        >>> layer.eval()(torch.tensor([[3.0, -1.0]])).tolist()
        [[3.0, -1.0]]
    """

    running_mean: Tensor
    running_var: Tensor
    unit_scale: Tensor

    def __init__(self, features: int, eps: float) -> None:
        super().__init__(features, eps=eps, affine=False)
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("unit_scale", torch.ones(features), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, D)."""
        self._check_input_dim(input)
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:
                # As in torch's own layers: no momentum means the plain mean over the batches.
                momentum = 1.0 / float(self.num_batches_tracked)
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.unit_scale,
            self.bias,
            self.training,
            momentum if momentum is not None else 0.0,
            self.eps,
        )

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim != 2:
            raise ValueError(f"expected embeddings (N, D), got shape {tuple(input.shape)}")


def has_batchnorm(network: nn.Module) -> bool:
    """Whether a network has BatchNorm at all.

    Example:
        >>> has_batchnorm(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))), has_batchnorm(nn.LayerNorm(8))
        (True, False)
    """
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
