"""Embeddings of a whole data set by a torch network."""

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Subset

from facexfer.backbones.info import BackboneModule
from facexfer.backbones.normalize import Normalize
from facexfer.backbones.revive import revive_batchnorm
from facexfer.tasks.task import TrainingSet


def embed_dataset(backbone: nn.Module, dataset: TrainingSet, batch_size: int = 128) -> Tensor:
    """Embed every image of a data set.

    Args:
        backbone: A network with `info`, on any device; its mode comes back as it was.
        dataset: Images (3, H, W) uint8 RGB and labels, without augmentation.
        batch_size: Images at a time.

    Returns:
        (N, D) float32 on the CPU, of the network's own length. Where torch.distributed runs, the ranks share the images
        and each gets all embeddings.
    """
    ranks = distributed.get_world_size() if distributed.is_initialized() else 1
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    if len(dataset) < ranks or ranks == 1:
        embeddings = _run_without_gradients(backbone, dataset, batch_size)
    else:
        embeddings = _gather(_run_without_gradients(backbone, _own_part(dataset), batch_size), len(dataset), backbone)
    for module, mode in modes:
        module.training = mode
    return embeddings


def recalibrate_batchnorm(backbone: nn.Module, dataset: TrainingSet, batch_size: int = 128) -> None:
    """Measure the BatchNorm statistics anew: the mean over the batches of a data set (AdaBN; Li et al., ICLR-W 2017).

    The weights stay. A network from visible light sees near-infrared images through statistics that do not fit them;
    this alone removes much of the loss, and it gives alignment methods a source that is worth aligning with.

    Args:
        backbone: A network with `info`; its statistics change, its mode comes back as it was.
        dataset: Images (3, H, W) uint8 RGB of the new kind; labels are not looked at.
        batch_size: Images at a time.
    """
    layers = [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    modes = [(module, module.training) for module in backbone.modules()]
    momenta = [layer.momentum for layer in layers]
    backbone.eval()
    for layer in layers:
        layer.reset_running_stats()
        # Without a momentum, torch keeps the plain mean over the batches.
        layer.momentum = None
        layer.train()
    _run_without_gradients(backbone, dataset, batch_size)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for module, mode in modes:
        module.training = mode


def revive_on(backbone: BackboneModule, dataset: TrainingSet, images: int = 512, batch_size: int = 64) -> None:
    """Give folded BatchNorm the statistics of some of a data set's images, evenly spread.

    Args:
        backbone: A network whose file has folded BatchNorm.
        dataset: Images (3, H, W) uint8 RGB; labels are not looked at.
        images: How many at the most.
        batch_size: Images at a time.
    """
    device = next(backbone.parameters()).device
    normalize = Normalize(backbone.info).to(device)
    chosen = Subset(dataset, range(0, len(dataset), max(1, len(dataset) // images)))  # type: ignore[arg-type, var-annotated]
    revive_batchnorm(backbone, (normalize(batch.to(device)) for batch, _ in DataLoader(chosen, batch_size=batch_size)))


def _own_part(dataset: TrainingSet) -> TrainingSet:
    rows = range(distributed.get_rank(), len(dataset), distributed.get_world_size())
    return cast(TrainingSet, Subset(cast(Any, dataset), rows))


def _gather(mine: Tensor, rows: int, backbone: nn.Module) -> Tensor:
    """Put the ranks' rows, every so many-th each, into their old order."""
    ranks = distributed.get_world_size()
    longest = -(-rows // ranks)
    # The communication of GPUs takes tensors on GPUs only, all of one shape.
    padded = torch.zeros(longest, mine.shape[1], device=next(backbone.parameters()).device)
    padded[: len(mine)] = mine.to(padded.device)
    parts = [torch.empty_like(padded) for _ in range(ranks)]
    distributed.all_gather(parts, padded)
    return torch.stack(parts, dim=1).flatten(0, 1)[:rows].cpu()


def _run_without_gradients(backbone: nn.Module, dataset: TrainingSet, batch_size: int) -> Tensor:
    parameter = next(backbone.parameters())
    normalize = Normalize(backbone.info).to(parameter.device)  # type: ignore[arg-type]
    embeddings = []
    with torch.no_grad():
        for images, _ in DataLoader(dataset, batch_size=batch_size):  # type: ignore[arg-type]
            images = normalize(images.to(parameter.device)).to(parameter.dtype)
            embeddings.append(backbone(images.contiguous(memory_format=torch.channels_last)).float().cpu())
    return torch.cat(embeddings)
