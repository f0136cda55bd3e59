"""Settings that a run would not read, given its method, network and images, so that nothing set does nothing."""

from facexfer.backbones.parts.info import BackboneModule
from facexfer.errors import InputError
from facexfer.recipe import Recipe, SourceSection
from facexfer.tasks.task import Task
from facexfer.transfer.stages import Need, Stage

# Of a batch; below it is what floating point leaves of parts that sum to 1.
_SHARE = 1e-9


def check_all_is_read(recipe: Recipe, task: Task, stages: tuple[Stage, ...], source: BackboneModule) -> None:
    """Check that a run reads what its recipe sets, beyond what `facexfer.tasks.keys` knows without its data.

    Args:
        recipe: The run.
        task: The problem.
        stages: The method.
        source: The source network.

    Raises:
        InputError: If nothing reads the source images, test images have no loss, nothing is measured at the end as a
            setting says, or a part of the batches is less than an image.
    """
    needs = {need for stage in stages for need in stage.needs}
    # Folded BatchNorm is revived from pictures of the source's own kind.
    is_revived = bool(source.folded) and recipe.source.revive_batchnorm
    if recipe.source_data is not None and Need.SOURCE_IMAGES not in needs and not is_revived:
        raise InputError(
            f"expected a method that reads the source's own images with [source_data], got {recipe.method.name}; take "
            'soft_ft, or lwf with method.old_task = "source_set", or leave the section out'
        )
    if recipe.evaluation.test_loss and Need.COMPANIONS in needs:
        raise InputError(
            f"expected a method without companions for evaluation.test_loss, got {recipe.method.name}: test images "
            "have none; leave it out"
        )
    _check_end(recipe)
    if stages:
        _check_shares(task, recipe.optimizer.batch_size)


def _check_end(recipe: Recipe) -> None:
    """Check that settings of the measurement at the end have one; `source_share` has none with frozen statistics."""
    settings = recipe.optimizer
    if settings.source_share == 0 or settings.measures_at_the_end:
        return
    idle = ["optimizer.final_keep"] if settings.final_keep > 0 else []
    floor = SourceSection.model_fields["variance_floor"].default
    if recipe.source.variance_floor != floor and not recipe.source.recalibrate_batchnorm:
        idle.append("source.variance_floor")
    if idle:
        raise InputError(
            f"expected optimizer.final_batchnorm = true with {' and '.join(idle)}, got false: with "
            f"optimizer.frozen_batchnorm nothing is measured after source_share; set it, or leave {idle[0]} out"
        )


def _check_shares(task: Task, batch_size: int) -> None:
    mixture = task.mixture
    for part, count in zip(mixture.parts, mixture.counts(batch_size), strict=True):
        if part.share > _SHARE and count <= 0:
            raise InputError(
                f"expected a part of the batch that is at least one image, got {part.share:g} of {batch_size} images "
                f"for {part.name}; the smallest is {1 / batch_size:g}, take that, or leave it out"
            )
