"""Embeddings of a whole data set by a torch network."""

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Subset

from facexfer.backbones.parts.normalize import Normalize
from facexfer.data.training_set import TrainingSet


def embed_dataset(backbone: nn.Module, dataset: TrainingSet, batch_size: int = 128) -> Tensor:
    """Embed every image of a data set.

    Args:
        backbone: A network with `info`, on any device; its mode is restored.
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
        embeddings = embed_alone(backbone, dataset, batch_size)
    else:
        embeddings = _gather(embed_alone(backbone, _own_part(dataset), batch_size), len(dataset), backbone)
    for module, mode in modes:
        module.training = mode
    return embeddings


def embed_alone(backbone: nn.Module, dataset: TrainingSet, batch_size: int) -> Tensor:
    """Embed every image of a data set by this process alone, in the mode that the network is in.

    The batches are as even as can be: BatchNorm in training mode would take one last image for as much as 128.

    Args:
        backbone: A network with `info`, on any device.
        dataset: Images (3, H, W) uint8 RGB; labels are not looked at.
        batch_size: Images at a time, at most.

    Returns:
        (N, D) float32 on the CPU.
    """
    parameter = next(backbone.parameters())
    normalize = Normalize(backbone.info).to(parameter.device)  # type: ignore[arg-type]
    embeddings = []
    count = -(-len(dataset) // batch_size)
    rows = [part.tolist() for part in torch.arange(len(dataset)).tensor_split(count)]
    # The loader draws a seed for its workers: from a generator of its own, so that measuring changes no later draw.
    own = torch.Generator()
    with torch.no_grad():
        for images, _ in DataLoader(dataset, batch_sampler=rows, generator=own):  # type: ignore[arg-type]
            images = normalize(images.to(parameter.device)).to(parameter.dtype)
            embeddings.append(backbone(images.contiguous(memory_format=torch.channels_last)).float().cpu())
    return torch.cat(embeddings)


def _own_part(dataset: TrainingSet) -> TrainingSet:
    rows = range(distributed.get_rank(), len(dataset), distributed.get_world_size())
    return cast(TrainingSet, Subset(cast(Any, dataset), rows))


def _gather(mine: Tensor, rows: int, backbone: nn.Module) -> Tensor:
    """Restore the order of rows that were dealt to the ranks in turn."""
    ranks = distributed.get_world_size()
    longest = -(-rows // ranks)
    # The communication of GPUs takes tensors on GPUs only, all of one shape.
    padded = torch.zeros(longest, mine.shape[1], device=next(backbone.parameters()).device)
    padded[: len(mine)] = mine.to(padded.device)
    parts = [torch.empty_like(padded) for _ in range(ranks)]
    distributed.all_gather(parts, padded)
    return torch.stack(parts, dim=1).flatten(0, 1)[:rows].cpu()
