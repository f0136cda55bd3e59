"""The network that a run starts from: made, and its BatchNorm settled before anything is measured against it."""

from collections.abc import Callable

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.info import BackboneModule
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
        task: Its training images are what the statistics come from.
        say: Shows a line of progress.
    """
    if settings.revive_batchnorm and source.folded:
        say("reviving folded BatchNorm from the training images")
        revive_on(source, task.plain_training_set)
    # Left folded on request, it must not refuse to train.
    source.folded = ()
    if settings.recalibrate_batchnorm:
        say("measuring the BatchNorm statistics on the training images")
        recalibrate_batchnorm(source, task.plain_training_set)
