"""BatchNorm over the batches of all ranks together, on CPUs as on GPUs."""

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from facexfer.backbones.parts.layers import FixedScaleBatchNorm1d
from facexfer.errors import InputError


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """A BatchNorm layer whose statistics in training are those of the whole batch, not of this rank's part.

    torch's own SyncBatchNorm runs on GPUs only and drops the shift of a layer without a learned scale.
    """

    running_mean: Tensor
    running_var: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, ...)."""
        if not self.training:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        dims = [dim for dim in range(input.ndim) if dim != 1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        count = values.numel() // values.shape[1] * distributed.get_world_size()
        # In two passes: the mean of squares minus the square of the mean cancels.
        mean = _sum_over_ranks(values.sum(dims)) / count
        centred = values - mean.view(shape)
        variance = _sum_over_ranks(centred.square().sum(dims)) / count
        self._follow(mean.detach(), variance.detach() * (count / max(1, count - 1)))
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        normalised = centred * scale.view(shape)
        if self.bias is not None:
            normalised = normalised + self.bias.view(shape)
        return normalised.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        tracked = cast(Tensor, self.num_batches_tracked)
        tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def sync_batchnorm(network: nn.Module) -> None:
    """Turn every BatchNorm layer of a network into a `SyncedBatchNorm`; parameters, statistics and names stay.

    Args:
        network: Changed in place.

    Raises:
        InputError: If a layer is derived from BatchNorm and may do more than it does; nothing has been changed.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for layer in layers:
        if type(layer) not in _SYNCED:
            raise InputError(
                f"optimizer.sync_batchnorm: expected BatchNorm of torch, got {type(layer).__name__}, which may do "
                "more; set optimizer.frozen_batchnorm = true instead, or make the batches of each rank larger"
            )
    for layer in layers:
        # The state is the same; only what forward does with it changes.
        layer.__class__ = SyncedBatchNorm


_SYNCED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, FixedScaleBatchNorm1d, SyncedBatchNorm)


class _SumOverRanks(torch.autograd.Function):
    """The sum over ranks, and of its gradients likewise: every rank's loss depends on every rank's summand."""

    @staticmethod
    def forward(context: Any, summand: Tensor) -> Tensor:
        total = summand.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _sum_over_ranks(summand: Tensor) -> Tensor:
    return cast(Tensor, _SumOverRanks.apply(summand))
