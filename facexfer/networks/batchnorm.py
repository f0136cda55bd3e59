"""BatchNorm made to fit a data set: statistics measured again, or restored where an exporter folded them."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from facexfer.backbones.balance import balance_scales
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.layers import FixedScaleBatchNorm1d
from facexfer.backbones.parts.normalize import Normalize
from facexfer.backbones.revive import revive_batchnorm
from facexfer.data.training_set import TrainingSet
from facexfer.errors import InputError
from facexfer.networks.embedding import embed_alone

VARIANCE_FLOOR = 0.1
"""The default of `recalibrate_batchnorm` and of the recipe's ``source.variance_floor``."""


def recalibrate_batchnorm(
    backbone: nn.Module, dataset: TrainingSet, variance_floor: float = VARIANCE_FLOOR, batch_size: int = 128
) -> None:
    """Measure the BatchNorm statistics again: the mean over the batches of a data set (AdaBN; Li et al., ICLR-W 2017).

    The batches are drawn at random, the same ones each time: batches of one person's images, as manifests have them one
    after another, would leave out how people differ.

    The weights stay. A network from visible light sees near-infrared images through statistics that do not fit them;
    this alone removes much of the loss, and it provides alignment methods with a better source to align with.

    A channel that compares colours is all but silent on infrared images, whose three channels are equal. Divided by
    the root of its new variance, what is left of it would be blown up to full strength in infrared, and beyond all
    measure in visible light. Such a channel keeps the floor's part of its old variance: as a smaller scale, so that
    it also holds in training, where BatchNorm divides by a batch's own variance.

    Args:
        backbone: A network with `info`; its statistics change, its mode is restored.
        dataset: Images (3, H, W) uint8 RGB of the new kind; labels are not looked at.
        variance_floor: What a channel keeps of its old variance at the least, 0 to 1.
        batch_size: Images at a time, at most.

    Raises:
        InputError: If there are fewer than two images, whose variance is not known.
    """
    if len(dataset) < 2:
        raise InputError(
            f"expected at least 2 images to measure BatchNorm statistics on, got {len(dataset)}; add some, or leave "
            "source.recalibrate_batchnorm and optimizer.final_batchnorm out"
        )
    layers = [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    modes = [(module, module.training) for module in backbone.modules()]
    momenta = [layer.momentum for layer in layers]
    before = [_measured_variance(layer) for layer in layers]
    backbone.eval()
    for layer in layers:
        layer.reset_running_stats()
        # Without a momentum, torch keeps the plain mean over the batches.
        layer.momentum = None
        layer.train()
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    embed_alone(backbone, cast(TrainingSet, Subset(cast(Any, dataset), order)), batch_size)
    for layer, momentum, variance in zip(layers, momenta, before, strict=True):
        layer.momentum = momentum
        if variance is not None:
            _quiet(layer, variance * variance_floor)
    for module, mode in modes:
        module.training = mode


def _measured_variance(layer: nn.modules.batchnorm._BatchNorm) -> Tensor | None:
    """A layer's variance; None where it was never measured, or there is no learned scale."""
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None or not layer.affine or isinstance(layer, FixedScaleBatchNorm1d):
        return None
    is_fresh = bool((mean == 0).all() and (variance == 1).all())
    return None if is_fresh else variance.clone()


def _quiet(layer: nn.modules.batchnorm._BatchNorm, least: Tensor) -> None:
    """Shrink the scales of channels whose variance is below some least one, as if it were that."""
    assert layer.running_var is not None
    variance = layer.running_var + layer.eps
    with torch.no_grad():
        layer.weight.mul_((variance / torch.maximum(variance, least + layer.eps)).sqrt())


def revive_on(backbone: BackboneModule, dataset: TrainingSet, images: int = 512, batch_size: int = 64) -> None:
    """Set the statistics of folded BatchNorm from some of a data set's images, evenly spread, and balance the scales.

    Args:
        backbone: A network whose file has folded BatchNorm.
        dataset: Images (3, H, W) uint8 RGB; labels are not looked at.
        images: How many at the most.
        batch_size: Images at a time.
    """
    parameter = next(backbone.parameters())
    normalize = Normalize(backbone.info).to(parameter.device)
    step = max(1, -(-len(dataset) // images))
    chosen = Subset(dataset, range(0, len(dataset), step))  # type: ignore[arg-type, var-annotated]
    batches = (
        normalize(batch.to(parameter.device)).to(parameter.dtype)
        for batch, _ in DataLoader(chosen, batch_size=batch_size)
    )
    balance_scales(backbone, revive_batchnorm(backbone, batches))
