"""Embeddings of a whole data set by a torch network."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from facexfer.backbones.normalize import Normalize
from facexfer.tasks.task import TrainingSet


def embed_dataset(backbone: nn.Module, dataset: TrainingSet, batch_size: int = 128) -> Tensor:
    """Embed every image of a data set.

    Args:
        backbone: A network with `info`, on any device; its mode comes back as it was.
        dataset: Images (3, H, W) uint8 RGB and labels, without augmentation.
        batch_size: Images at a time.

    Returns:
        (N, D) float32 on the CPU, of the network's own length.
    """
    device = next(backbone.parameters()).device
    normalize = Normalize(backbone.info).to(device)  # type: ignore[arg-type]
    was_training = backbone.training
    backbone.eval()
    embeddings = []
    with torch.no_grad():
        for images, _ in DataLoader(dataset, batch_size=batch_size):  # type: ignore[arg-type]
            images = normalize(images.to(device)).contiguous(memory_format=torch.channels_last)
            embeddings.append(backbone(images).float().cpu())
    backbone.train(was_training)
    return torch.cat(embeddings)
