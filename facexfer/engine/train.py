"""Train a recipe into a folder: everything that can be wrong is checked before the work, then the loop runs."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.layers import has_batchnorm
from facexfer.engine.best import BestMetric
from facexfer.engine.companions import check_compares, check_overlap, check_parts, reads_companions, shows_companions
from facexfer.engine.device_batches import make_batches
from facexfer.engine.diagnosis import check_batchnorm
from facexfer.engine.knowledge import SourceKnowledge, check_head_start, check_needs
from facexfer.engine.loop import Training
from facexfer.engine.resume import is_resumed
from facexfer.engine.setup import Setup
from facexfer.engine.source import make_source
from facexfer.engine.step import StepCallback
from facexfer.engine.unread import check_all_is_read
from facexfer.errors import InputError
from facexfer.heads import check_head
from facexfer.plugins import load_plugins
from facexfer.recipe import Recipe, as_recipe
from facexfer.runs.folder import RunFolder
from facexfer.runtime import Fabric, make_fabric, memory_format, seed_everything, weights_dtype
from facexfer.tasks import TASKS
from facexfer.tasks.fingerprints import source_fingerprint
from facexfer.tasks.keys import check_keys, idle_keys
from facexfer.tasks.task import Task
from facexfer.transfer import methods
from facexfer.transfer.stages import Stage


def train(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    out: str | Path,
    resume: bool = False,
    on_step: StepCallback | None = None,
) -> dict[str, Any]:
    """Run a recipe into a folder.

    Args:
        recipe: The run: a `Recipe`, a nested mapping of its sections, a TOML file, or the name of a packaged recipe.
        out: The run folder; new, or with a run of the same recipe to resume.
        resume: Continue from the newest checkpoint; a finished run is left untouched.
        on_step: Called with each `TrainedStep`, e.g. to show its losses or to stop the run by an exception, after
            which it can be resumed.

    Returns:
        The result, as in ``result.json``: ``result["figures"]`` holds the figures by name. Of a finished run too.

    Raises:
        InputError: If the recipe, the weights, the data or the folder is not fit; nothing has been trained yet.
        RunError: If the loss became non-finite or a file could not be written; the last checkpoint is intact.

    Example:
        >>> train({"methd": {"name": "afa"}}, "runs/mine")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facexfer.errors.InputError: recipe: unknown key 'methd'; did you mean 'method'? keys: ...
    """
    recipe = as_recipe(recipe)
    stages = check_recipe(recipe)
    return _train_stages(recipe, RunFolder(Path(out)), stages, resume, on_step)


def check_recipe(recipe: Recipe) -> tuple[Stage, ...]:
    """Check what a recipe says of itself, before its data and its network are looked at; its plugins are run.

    Args:
        recipe: The run.

    Returns:
        The stages of its method.

    Raises:
        InputError: If its task does not read a key, or a plugin, the method, the head or an option of these is not fit.
    """
    load_plugins(recipe.plugins)
    check_keys(recipe)
    stages = methods.create(recipe.method.name, **recipe.method.options)
    check_head(recipe.head.name, recipe.head.options, recipe.head.start)
    return stages


def _train_stages(
    recipe: Recipe, run: RunFolder, stages: tuple[Stage, ...], resume: bool, on_step: StepCallback | None
) -> dict[str, Any]:
    best = BestMetric(recipe)
    resume = is_resumed(run, recipe, resume)
    seed_everything(recipe.seed)
    source = make_source(recipe.source)
    task = TASKS[recipe.task](recipe, source.info)
    _check_task(recipe, task, stages, source)
    known = task.fingerprints | source_fingerprint(recipe.source)
    if resume:
        run.check_data(known)
    fabric = make_fabric(recipe.runtime)
    batches = make_batches(recipe, task.mixture, fabric)
    check_batchnorm(source, recipe.optimizer, stages, batches.images_a_pass, fabric.world_size)
    # Every rank has looked whether the folder is free before one fills it.
    fabric.barrier()
    training = None
    with _held(run, fabric):
        if not resume and fabric.is_global_zero:
            run.start(recipe, idle_keys(recipe.task))
            run.save_data(known)
        fabric.barrier()
        try:
            for first in (stage.restarts_after for stage in stages if not run.finished):
                if first is not None:
                    before = RunFolder(run.path / first.name)
                    _train_stages(recipe, before, (first,), before.recipe_file.exists(), on_step)
            source = source.to(fabric.device, weights_dtype(recipe.runtime))
            source = source.to(memory_format=memory_format(recipe.runtime))
            knowledge = SourceKnowledge(recipe, run, task, source)
            setup = Setup(fabric, recipe, run, stages, task, source, batches, best, knowledge)
            training = Training(setup, on_step)
            return training.fit(resume)
        except InputError:
            # What is refused before the first step leaves the folder free for the next try.
            if not resume and fabric.is_global_zero and (training is None or training.step == 0):
                run.forget()
            raise
        except KeyboardInterrupt as stop:
            # The source was being measured, or the like, and the folder has the recipe already.
            raise KeyboardInterrupt(str(stop) or "stopped before the first step; continue with --resume") from None


def _length(recipe: Recipe) -> str:
    settings = recipe.optimizer
    return f"iterations = {settings.iterations}" if settings.epochs is None else f"{settings.epochs:g}"


def _check_task(recipe: Recipe, task: Task, stages: tuple[Stage, ...], source: BackboneModule) -> None:
    if stages and len(task.training_set) < recipe.optimizer.batch_size:
        raise InputError(
            f"expected at least one batch of training images, got {len(task.training_set)} images for batches of "
            f"{recipe.optimizer.batch_size}; lower optimizer.batch_size"
        )
    if bool(stages) != bool(recipe.optimizer.epochs or recipe.optimizer.iterations):
        raise InputError(
            f"expected optimizer.epochs = 0 for a method without steps and more for any other, got {_length(recipe)} "
            f"for {recipe.method.name}; change it"
        )
    if recipe.optimizer.final_keep > 0 and task.of_source is None:
        raise InputError(
            "optimizer.final_keep: expected pictures of the source's own spectrum in addition to the training "
            "images, got none; name them in [companions], [pool] or [source_data], or leave it out"
        )
    if not stages and not (recipe.source.recalibrate_batchnorm or recipe.optimizer.final_batchnorm):
        raise InputError(
            f"expected source.recalibrate_batchnorm = true for {recipe.method.name}, which does nothing else, got "
            "false; set it"
        )
    if not stages and not has_batchnorm(source):
        raise InputError(
            f"expected a network with BatchNorm for {recipe.method.name}, {source.info.name} has none; take another "
            "method"
        )
    if any(stage.trained_part is not None and not list(stage.trained_part(source)) for stage in stages):
        raise InputError(
            f"expected a network with the layers that {recipe.method.name} trains, {source.info.name} has none of "
            "them; take another method"
        )
    if recipe.optimizer.name != "sgd" and any(stage.make_optimizer is not None for stage in stages):
        raise InputError(
            f'expected optimizer.name = "sgd" for {recipe.method.name}, which is a form of SGD, got '
            f"{recipe.optimizer.name}; leave it out"
        )
    check_needs(stages, task, source)
    check_head_start(recipe, stages, task)
    check_compares(recipe, stages)
    check_overlap(recipe, stages)
    check_all_is_read(recipe, task, stages, source)
    sections = [name for name in ("companions", "pool") if getattr(recipe, name) is not None]
    if sections and not reads_companions(recipe, stages) and not shows_companions(recipe):
        raise InputError(
            f"expected a method that reads companions with [{'] and ['.join(sections)}], got {recipe.method.name}; "
            'take csd, start the head from them (head.start = "companions"), or leave the section out'
        )
    check_parts(recipe, task, stages)
    if recipe.evaluation.test_loss and not task.is_closed:
        raise InputError(
            "expected test images of the training classes for evaluation.test_loss, this task tests on other ones; "
            "leave it out"
        )


def _held(run: RunFolder, fabric: Fabric) -> AbstractContextManager[object]:
    """Lock the folder on the first rank; if that fails, every rank raises the error."""
    held: AbstractContextManager[object] = nullcontext()
    problem = ""
    if fabric.is_global_zero and not run.finished:
        try:
            held = run.hold()
        except InputError as error:
            problem = str(error)
    problem = fabric.broadcast(problem)
    if problem:
        raise InputError(problem)
    return held
