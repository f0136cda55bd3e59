"""The network that a run starts from: made, and its BatchNorm settled before anything is measured against it."""

from collections.abc import Callable

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.layers import has_batchnorm
from facexfer.networks.batchnorm import recalibrate_batchnorm, revive_on
from facexfer.recipe import SourceSection
from facexfer.tasks.task import Task


def make_source(settings: SourceSection) -> BackboneModule:
    """Make the source network as its file gives it.

    Args:
        settings: The recipe's.

    Returns:
        The network in eval mode, frozen.

    Raises:
        InputError: If the name, the weights or the size do not fit.
    """
    size = (settings.input_size, settings.input_size) if settings.input_size else None
    source = create_backbone(settings.backbone, weights=settings.weights, input_size=size)
    return source.eval().requires_grad_(False)


def settle_source(source: BackboneModule, settings: SourceSection, task: Task, say: Callable[[str], None]) -> None:
    """Revive folded BatchNorm and measure the statistics again, as far as the recipe asks for it.

    Args:
        source: Changed in place.
        settings: The recipe's.
        task: See `revive_source`; what is measured are the images of the batches.
        say: Shows a line of progress.
    """
    revive_source(source, settings, task, say)
    measure_source(source, settings, task, say)


def revive_source(source: BackboneModule, settings: SourceSection, task: Task, say: Callable[[str], None]) -> None:
    """Revive folded BatchNorm and balance the scales, if the recipe asks for it; embeddings stay, maps do not.

    Args:
        source: Changed in place.
        settings: The recipe's.
        task: Folded BatchNorm is revived from pictures of the source's own kind where there are any beside the training
            images, so that measuring tells the spectra apart.
        say: Shows a line of progress.
    """
    if settings.revive_batchnorm and source.folded:
        own = task.of_source
        say(f"reviving folded BatchNorm from {'the training images' if own is None else 'the pictures beside them'}")
        if own is None and settings.recalibrate_batchnorm:
            say("measuring it again will change little; VIS photos as companions or as the pool would help")
        revive_on(source, task.plain_training_set if own is None else own)
    # Left folded on request, it must not refuse to train.
    source.folded = ()


def measure_source(source: BackboneModule, settings: SourceSection, task: Task, say: Callable[[str], None]) -> None:
    """Measure the BatchNorm statistics on the images of the batches, if the recipe asks for it.

    Args:
        source: Changed in place.
        settings: The recipe's.
        task: The problem.
        say: Shows a line of progress.
    """
    if settings.recalibrate_batchnorm and not has_batchnorm(source):
        say(f"{source.info.name} has no BatchNorm whose statistics could be measured again")
    elif settings.recalibrate_batchnorm:
        say("measuring the BatchNorm statistics on the images of the batches")
        recalibrate_batchnorm(source, task.in_batches, settings.variance_floor)
