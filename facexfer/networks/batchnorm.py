"""BatchNorm made to fit a data set: statistics measured again, or restored where an exporter folded them."""

from torch import nn
from torch.utils.data import DataLoader, Subset

from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.backbones.revive import revive_batchnorm
from facexfer.data.training_set import TrainingSet
from facexfer.networks.embedding import embed_alone


def recalibrate_batchnorm(backbone: nn.Module, dataset: TrainingSet, batch_size: int = 128) -> None:
    """Measure the BatchNorm statistics again: the mean over the batches of a data set (AdaBN; Li et al., ICLR-W 2017).

    The weights stay. A network from visible light sees near-infrared images through statistics that do not fit them;
    this alone removes much of the loss, and it provides alignment methods with a better source to align with.

    Args:
        backbone: A network with `info`; its statistics change, its mode is restored.
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
    embed_alone(backbone, dataset, batch_size)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for module, mode in modes:
        module.training = mode


def revive_on(backbone: BackboneModule, dataset: TrainingSet, images: int = 512, batch_size: int = 64) -> None:
    """Set the statistics of folded BatchNorm from some of a data set's images, evenly spread.

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
