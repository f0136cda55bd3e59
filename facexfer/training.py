"""The training loop, read top to bottom: one loop for every method, network and task."""

import copy
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from facexfer.backbones import create_backbone
from facexfer.backbones.info import BackboneInfo, BackboneModule
from facexfer.backbones.normalize import Normalize
from facexfer.checkpoint import random_state, set_random_state
from facexfer.diagnosis import Diagnosis, compare_with_untouched
from facexfer.errors import InputError
from facexfer.features import map_shapes
from facexfer.frozen import fold_batchnorm
from facexfer.heads import HEADS, Head, class_means
from facexfer.knowledge import SourceKnowledge, check_needs
from facexfer.losses import LossWindow
from facexfer.progress import TrainingProgress
from facexfer.recipe import Recipe, SourceSection
from facexfer.runs import RunFolder
from facexfer.runtime import describe_environment, make_fabric, memory_format, seed_everything
from facexfer.schedule import epoch_batches, split_steps, stage_rate
from facexfer.source_batches import SourceBatches
from facexfer.tasks import TASKS
from facexfer.tasks.embedding import embed_dataset, recalibrate_batchnorm, revive_on
from facexfer.tasks.task import Task
from facexfer.transfer import methods
from facexfer.transfer.objective import Objective, make_terms
from facexfer.transfer.stages import Reference, Stage, StageSetting


def train(recipe: Recipe, out: Path, resume: bool) -> dict[str, Any]:
    """Run a recipe into a folder.

    Args:
        recipe: The run.
        out: The run folder; new, or with a run of the same recipe to resume.
        resume: Go on from the newest checkpoint; a finished run is left as it is.

    Returns:
        The result, as in ``result.json``.

    Raises:
        InputError: If the recipe, the weights, the data or the folder is not fit; nothing has been trained yet.
        RunError: If the loss became non-finite or a file could not be written; the last checkpoint is intact.
    """
    run = RunFolder(out)
    stages = methods.create(recipe.method.name, **recipe.method.options)
    HEADS[recipe.head.name]  # an unknown head is an error before any work
    if resume:
        run.check_resumable(recipe)
    seed_everything(recipe.seed)
    source = _make_source(recipe.source)
    task = TASKS[recipe.task](recipe, source.info)
    if len(task.training_set) < recipe.optimizer.batch_size:
        raise InputError(
            f"expected at least one batch of training images, got {len(task.training_set)} images for batches of "
            f"{recipe.optimizer.batch_size}; lower optimizer.batch_size"
        )
    check_needs(stages, task, source)
    fabric = make_fabric(recipe.runtime)
    if recipe.optimizer.batch_size % fabric.world_size:
        raise InputError(
            f"expected a batch size that {fabric.world_size} ranks can share, got {recipe.optimizer.batch_size}; "
            "make optimizer.batch_size a multiple"
        )
    if not resume and fabric.is_global_zero:
        run.start(recipe)
    fabric.barrier()
    return Training(fabric, recipe, run, stages, task, source).fit(resume)


def _make_source(settings: SourceSection) -> BackboneModule:
    size = (settings.input_size, settings.input_size) if settings.input_size else None
    source = create_backbone(settings.backbone, weights=settings.weights, input_size=size)
    return source.eval().requires_grad_(False)


class Training:
    """One run of a method's stages.

    Args:
        fabric: Device, precision and ranks.
        recipe: The run.
        run: Its folder.
        stages: The method.
        task: The problem.
        source: The source network, frozen.
    """

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        run: RunFolder,
        stages: tuple[Stage, ...],
        task: Task,
        source: BackboneModule,
    ) -> None:
        self.fabric = fabric
        self.recipe = recipe
        self.run = run
        self.stages = stages
        self.task = task
        self.info: BackboneInfo = source.info
        self.format = memory_format(recipe.runtime)
        self.source = source.to(fabric.device).to(memory_format=self.format)
        self.untouched: dict[str, float | None] = {}
        self.normalize = Normalize(source.info).to(fabric.device)
        self.steps_per_epoch = len(task.training_set) // recipe.optimizer.batch_size
        self.stage_steps = split_steps(recipe.optimizer, stages, self.steps_per_epoch)
        self.knowledge = SourceKnowledge(recipe, run, task, self.source, train)
        self.source_batches = SourceBatches(
            task.source_set, recipe.optimizer.batch_size, recipe.seed, fabric.global_rank, fabric.world_size
        )
        self.diagnosis = Diagnosis()
        self.step = 0
        self.saved_at = time.monotonic()
        self.saved_step = 0

    def fit(self, resume: bool) -> dict[str, Any]:
        """Train all stages, evaluate, and save the network and the result."""
        checkpoint = self.run.load_checkpoint() if resume else None
        if resume and self.run.finished:
            self.fabric.print(f"{self.run.path} is finished; its figures are in {self.run.result_file.name}")
            return {}
        if checkpoint:
            for record in self.run.metrics():
                self.diagnosis.see(record)
        writer = SummaryWriter(str(self.run.path), purge_step=checkpoint["step"] if checkpoint else None)
        progress = TrainingProgress(sum(self.stage_steps), shown=self.fabric.is_global_zero)
        with closing(writer), progress:
            self.writer, self.progress = writer, progress
            self.untouched = checkpoint["untouched"] if checkpoint else self._evaluate_untouched()
            if self.source.folded and self.recipe.source.revive_batchnorm:
                self.progress.say("reviving folded BatchNorm from the training images")
                revive_on(self.source, self.task.plain_training_set)
            if self.recipe.source.recalibrate_batchnorm:
                self.progress.say("measuring the BatchNorm statistics on the training images")
                recalibrate_batchnorm(self.source, self.task.plain_training_set)
            self.backbone = copy.deepcopy(self.source)
            self.head = self._make_head()
            for index in range(checkpoint["stage"] if checkpoint else 0, len(self.stages)):
                self._fit_stage(index, checkpoint)
                checkpoint = None
            return self._finish()

    def _make_head(self) -> Head:
        seed_everything(self.recipe.seed, 0)
        classes = len(self.task.classes)
        head = HEADS[self.recipe.head.name](self.info.embedding_size, classes, **self.recipe.head.options)
        if self.recipe.head.start == "class_means":
            # Every rank computes them: the same images and the same network give the same means.
            embeddings = embed_dataset(self.source, self.task.plain_training_set)
            labels = torch.tensor([self.task.plain_training_set[i][1] for i in range(len(embeddings))])
            head.start_from_class_means(class_means(embeddings, labels, classes))
        return head.to(self.fabric.device)

    def _fit_stage(self, index: int, checkpoint: dict[str, Any] | None) -> None:
        stage, steps = self.stages[index], self.stage_steps[index]
        first = sum(self.stage_steps[:index])
        self.step = first
        if checkpoint:
            self.backbone.load_state_dict(checkpoint["backbone"])
            self.head.load_state_dict(checkpoint["head"])
        objective = self._make_objective(index, checkpoint)
        optimizer = torch.optim.SGD(
            cast(Any, objective.parameter_groups(stage)),
            lr=self.recipe.optimizer.learning_rate * stage.rate_factor,
            momentum=self.recipe.optimizer.momentum,
        )
        wrapped = self.fabric.setup_module(objective)
        wrapped_optimizer = cast(torch.optim.Optimizer, self.fabric.setup_optimizers(optimizer))
        if checkpoint and checkpoint["terms"] is not None:
            self.step = checkpoint["step"]
            objective.terms.load_state_dict(checkpoint["terms"])
            optimizer.load_state_dict(checkpoint["optimizer"])
            set_random_state(checkpoint["random"])
        wrapped.train()
        window = LossWindow(stage.name)
        for images, labels in self._batches(self.step, first + steps):
            rate = stage_rate(self.recipe.optimizer, stage, (self.step - first) / steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            more = self._source_batch((self.step - first) / steps) if objective.reads_source_images else ()
            losses: dict[str, Tensor] = wrapped(images, labels, *more)
            wrapped_optimizer.zero_grad()
            self.fabric.backward(torch.stack(list(losses.values())).sum())
            wrapped_optimizer.step()
            self.step += 1
            window.add(self.step, rate, losses)
            is_last = self.step == first + steps
            is_logged = is_last or self.step % self.recipe.runtime.log_every_steps == 0
            if is_logged:
                self._log(window)
            if self._evaluation_is_due():
                self._record(self.task.evaluate(self.backbone, self.head, self.recipe.evaluation.pairs[:1]))
            # After the evaluation: a run killed in between measures again instead of missing a figure.
            if is_logged and not is_last:
                self._save_if_due(index, objective, optimizer)
            self.progress.advance(self.step, rate)
        if self.fabric.is_global_zero and any(True for _ in objective.terms.parameters()):
            self.run.save_stage(stage.name, dict(objective.terms.state_dict()), dict(self.reference.state_dict()))
        self._save(index + 1, None, None)

    def _make_objective(self, index: int, checkpoint: dict[str, Any] | None) -> Objective:
        """Set up a stage; in a later one the reference may be what the stage before has made."""
        stage = self.stages[index]
        reference = self.source
        if stage.reference is Reference.PREVIOUS and index > 0:
            reference = copy.deepcopy(self.backbone).eval().requires_grad_(False)
            if checkpoint and checkpoint["reference"] is not None:
                reference.load_state_dict(checkpoint["reference"])
        layers = self.recipe.method.layers or tuple(tap.layer for tap in self.info.even_taps(stage.taps))
        seed_everything(self.recipe.seed, 1 + index)
        setting = StageSetting(
            map_shapes=map_shapes(reference, layers, self.info.input_size) if stage.terms else (),
            embedding_size=self.info.embedding_size,
            classes=len(self.task.classes),
            source=reference,
            target=self.backbone,
            layers=layers,
            knowledge=self.knowledge,
        )
        terms = make_terms(stage, setting)
        seed_everything(self.recipe.seed, 1 + index, self.fabric.global_rank)
        self.reference = reference
        frozen = self._cheapest(reference, layers) if stage.terms else reference
        objective = Objective(
            self.backbone, self.head, stage, terms, layers, frozen, self.recipe.optimizer.frozen_batchnorm
        )
        if self.recipe.runtime.compile:
            self.progress.say(f"compiling stage {stage.name}, which takes minutes")
            objective.compile()
        return objective

    def _cheapest(self, reference: BackboneModule, layers: tuple[str, ...]) -> nn.Module:
        if not self.recipe.runtime.fold_source:
            return reference
        frozen = fold_batchnorm(reference, layers, self.info.input_size)
        self.progress.say(
            f"the frozen source runs with {frozen.folded} BatchNorm layers folded; its maps and embeddings differ by "
            f"{frozen.difference:.0e} of the largest value"
        )
        return frozen.network.to(memory_format=self.format)

    def _batches(self, first: int, end: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the batches of global steps ``first`` to ``end``, on the device and normalised."""
        step = first
        while step < end:
            epoch, start = divmod(step, self.steps_per_epoch)
            count = min(self.steps_per_epoch - start, end - step)
            self.task.training_set.set_epoch(epoch)
            batches = epoch_batches(
                len(self.task.training_set), self.recipe.optimizer.batch_size, self.recipe.seed, epoch
            )[start : start + count]
            mine = [batch[self.fabric.global_rank :: self.fabric.world_size] for batch in batches]
            loader = DataLoader(
                cast(Any, self.task.training_set),
                batch_sampler=mine,
                num_workers=self.recipe.runtime.workers,
                pin_memory=self.fabric.device.type == "cuda",
            )
            for images, labels in loader:
                images = self.normalize(images.to(self.fabric.device, non_blocking=True))
                yield images.contiguous(memory_format=self.format), labels.to(self.fabric.device, non_blocking=True)
            step += count

    def _source_batch(self, progress: float) -> tuple[Tensor, Tensor, Tensor]:
        """Give this step's batch of the source's own images, and how much it still counts."""
        images, labels = self.source_batches.batch(self.step)
        images = self.normalize(images.to(self.fabric.device)).contiguous(memory_format=self.format)
        return images, labels.to(self.fabric.device), torch.tensor(1 - progress, device=self.fabric.device)

    def _evaluation_is_due(self) -> bool:
        every = max(1, round(self.recipe.evaluation.every_epochs * self.steps_per_epoch))
        return self.step % every == 0 and self.step != sum(self.stage_steps)

    def _evaluate_untouched(self) -> dict[str, float | None]:
        if not self.recipe.evaluation.untouched:
            return {}
        self.progress.say("measuring the untouched source")
        figures = self.task.evaluate(self.source, None, self.recipe.evaluation.pairs)
        self._record(figures)
        return figures

    def _record(self, figures: dict[str, float | None]) -> None:
        if not self.fabric.is_global_zero:
            return
        self.run.log({"step": self.step, "figures": figures})
        for name, figure in figures.items():
            if figure is not None:
                self.writer.add_scalar(name, figure, self.step)
        self.progress.figures(self.step, figures)

    def _log(self, window: LossWindow) -> None:
        record = window.summarise(self.saved_step)
        if self.fabric.is_global_zero:
            epoch = self.step / self.steps_per_epoch
            self.run.log({"step": self.step, "epoch": round(epoch, 4), **record})
            for name, value in record["losses"].items():
                self.writer.add_scalar(f"loss/{name}", value, self.step)
            self.writer.add_scalar("learning_rate", record["learning_rate"], self.step)
        self.progress.losses(record["losses"])
        self._warn(self.diagnosis.see(record))

    def _warn(self, warnings: list[str]) -> None:
        for warning in warnings:
            self.progress.say(f"warning: {warning}")
            if self.fabric.is_global_zero:
                self.run.log({"step": self.step, "warning": warning})

    def _save_if_due(self, index: int, objective: Objective, optimizer: torch.optim.Optimizer) -> None:
        due = time.monotonic() - self.saved_at >= self.recipe.runtime.checkpoint_seconds
        if self.fabric.world_size > 1:
            due = self.fabric.broadcast(due)
        if due:
            self._save(index, objective, optimizer)

    def _save(self, index: int, objective: Objective | None, optimizer: torch.optim.Optimizer | None) -> None:
        if self.fabric.is_global_zero:
            reference = self.reference.state_dict() if objective and self.reference is not self.source else None
            self.writer.flush()
            self.run.save_checkpoint(
                {
                    "stage": index,
                    "step": self.step,
                    "untouched": self.untouched,
                    "backbone": dict(self.backbone.state_dict()),
                    "head": dict(self.head.state_dict()),
                    "terms": dict(objective.terms.state_dict()) if objective else None,
                    "reference": dict(reference) if reference else None,
                    "optimizer": optimizer.state_dict() if optimizer else None,
                    "random": random_state(),
                }
            )
        self.saved_at, self.saved_step = time.monotonic(), self.step

    def _finish(self) -> dict[str, Any]:
        self.progress.say("measuring the trained network")
        figures = self.task.evaluate(self.backbone, self.head, self.recipe.evaluation.pairs)
        self._record(figures)
        self._warn(self.diagnosis.end_stage() + compare_with_untouched(figures, self.untouched))
        result = {
            "method": self.recipe.method.name,
            "seed": self.recipe.seed,
            "steps": self.step,
            "figures": figures,
            "untouched": self.untouched,
            "details": self.task.details(self.backbone, self.head) if self.task.details else {},
            "data": self.task.fingerprints,
            "environment": describe_environment(self.backbone),
        }
        if self.fabric.is_global_zero:
            self.run.save_model(self.backbone, self.recipe)
            self.run.save_head(self.head, self.recipe, self.task.classes)
            self.run.save_result(result)
        self.fabric.barrier()
        return result
