"""Settings that a run would not read, given its method, network and images, so that nothing set does nothing."""

from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.layers import has_batchnorm
from facexfer.engine.companions import shows_companions
from facexfer.errors import InputError
from facexfer.recipe import OptimizerSection, Recipe, SourceSection
from facexfer.tasks.task import Task
from facexfer.transfer.stages import Need, Stage, classifies

# Of a batch; below it is what floating point leaves of parts that sum to 1.
_SHARE = 1e-9
# What says how steps are taken.
_OF_STEPS = (
    "name", "learning_rate", "momentum", "batch_size", "schedule", "drops", "drop_factor", "sync_batchnorm",
    "accumulate", "clip_norm", "average_decay",
)  # fmt: skip


def check_all_is_read(recipe: Recipe, task: Task, stages: tuple[Stage, ...], source: BackboneModule) -> None:
    """Check that a run reads what its recipe sets, beyond what `facexfer.tasks.keys` knows without its data.

    Args:
        recipe: The run.
        task: The problem.
        stages: The method.
        source: The source network.

    Raises:
        InputError: If nothing reads the source images, the training images or the layers, test images have no loss,
            nothing is measured at the end as a setting says, or a part of the batches is less than an image.
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
    _check_training_images(recipe, task, stages, source)
    _check_layers(recipe, stages)
    _check_end(recipe)
    if stages:
        _check_shares(task, recipe.optimizer.batch_size)


def warn_of_unread(
    recipe: Recipe, task: Task, stages: tuple[Stage, ...], source: BackboneModule, ranks: int
) -> list[str]:
    """Warn of settings that do nothing in this run, but may well be there for others of the same recipe or grid.

    Args:
        recipe: The run.
        task: The problem.
        stages: The method.
        source: The source network.
        ranks: How many there are.

    Returns:
        A line each.
    """
    warnings = []
    idle = [f"optimizer.{name}" for name in _OF_STEPS if getattr(recipe.optimizer, name) != _default(name)]
    if idle and not stages:
        changes = "changes" if len(idle) == 1 else "change"
        warnings.append(f"{recipe.method.name} takes no steps, so that {' and '.join(idle)} {changes} nothing")
    if recipe.optimizer.sync_batchnorm and ranks == 1 and stages and has_batchnorm(source):
        warnings.append("optimizer.sync_batchnorm joins the batches of several ranks; with one it changes nothing")
    if recipe.evaluation.test_loss and any(stage.reads("reads_source_images") for stage in stages):
        warnings.append(
            f"{recipe.method.name} has no losses on test images, with which no images of the source's own come, so "
            "that evaluation.test_loss changes nothing"
        )
    if not has_batchnorm(source) and not _has_training_images(task):
        warnings.append(
            f"every batch holds only {_others(task)}, and {source.info.name} has no BatchNorm to measure on the "
            "training images, so that nothing is learnt from them"
        )
    if _compares_with_itself(recipe, task, stages):
        warnings.append(
            f'every image is its own companion, and data.augmentation = "{recipe.data.augmentation}" shows it as that '
            'is: the source is compared with itself; take "vis-to-nir"'
        )
    return warnings


def _default(name: str) -> object:
    return OptimizerSection.model_fields[name].default


def _compares_with_itself(recipe: Recipe, task: Task, stages: tuple[Stage, ...]) -> bool:
    """Whether every image of a batch is its own companion, rendered in no way, and nothing but that is learnt."""
    if recipe.companions is None or recipe.companions.match != "simulated":
        return False
    # Of images of other tasks, `flip` draws a crop as well.
    is_plain = recipe.data.augmentation == "none" or (recipe.task == "face" and recipe.data.augmentation == "flip")
    if not is_plain or not all(part.is_kept for part in task.more):
        return False
    is_distilled = any(Need.COMPANIONS in stage.needs for stage in stages)
    return shows_companions(recipe) or (is_distilled and not classifies(stages))


def _has_training_images(task: Task) -> bool:
    return task.mixture.parts[0].share > _SHARE


def _others(task: Task) -> str:
    return " and ".join(part.name for part in task.more)


def _check_training_images(recipe: Recipe, task: Task, stages: tuple[Stage, ...], source: BackboneModule) -> None:
    """Check that the training images are read, by a loss or by BatchNorm, where a network has that."""
    if _has_training_images(task):
        return
    if classifies(stages):
        raise InputError(
            f"expected labelled images in every batch for the classification of {recipe.method.name}, got only "
            f"{_others(task)}, which has no labels; lower the shares"
        )
    if has_batchnorm(source) and not recipe.optimizer.measures_at_the_end:
        raise InputError(
            f"expected optimizer.final_batchnorm = true where every batch holds only {_others(task)}, got false: "
            "nothing would read the training images; set it, or lower the shares"
        )


def _check_layers(recipe: Recipe, stages: tuple[Stage, ...]) -> None:
    """Check that named layers are compared, and not counted by the method as well."""
    layers, taps = recipe.method.layers, recipe.method.options.get("taps")
    if not layers:
        return
    if all(stage.reads("reads_maps", "reads_companion_maps") is False for stage in stages):
        raise InputError(
            f"expected a method that compares layers for method.layers, got {recipe.method.name}; leave it out"
        )
    if taps is not None and taps != len(layers) and any(stage.taps == taps for stage in stages):
        raise InputError(
            f"expected either method.layers or method.taps, got {len(layers)} layers and taps = {taps}, which would do "
            "nothing; leave method.taps out"
        )


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
