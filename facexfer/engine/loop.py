"""The training loop, read top to bottom: one loop for every method, network and task."""

import copy
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from facexfer.backbones.parts.carried import facts_to_metadata
from facexfer.backbones.parts.info import BackboneInfo, BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.data.training_set import TrainingSet
from facexfer.engine.batches import TrainingBatches
from facexfer.engine.best import BestFigure
from facexfer.engine.diagnosis import Diagnosis, compare_with_untouched
from facexfer.engine.knowledge import SourceKnowledge, check_needs
from facexfer.engine.loss_log import LossWindow, mean_losses
from facexfer.engine.progress import TrainingProgress
from facexfer.engine.schedule import split_steps, stage_rate
from facexfer.engine.source import make_source, settle_source
from facexfer.engine.source_batches import SourceBatches
from facexfer.errors import InputError, RunError
from facexfer.heads import HEADS, Head, class_means
from facexfer.networks.embedding import embed_dataset
from facexfer.networks.folded import fold_batchnorm
from facexfer.networks.synced_batchnorm import sync_batchnorm
from facexfer.networks.weight_average import WeightAverage
from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder, load_backbone_file
from facexfer.runs.state import all_random_states, set_random_state
from facexfer.runtime import (
    describe_environment,
    is_restarted,
    make_fabric,
    memory_format,
    seed_everything,
    seed_stage,
    weights_dtype,
)
from facexfer.tasks import TASKS
from facexfer.tasks.task import Task
from facexfer.transfer import methods
from facexfer.transfer.objective import Objective, make_terms
from facexfer.transfer.stages import Reference, Stage, StageSetting
from facexfer.transfer.taps import map_shapes

_SMALLEST_BATCH = 16
_LOST_RANK = "onnection"


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
    best = BestFigure(recipe)
    # torchrun starts lost ranks again with the command they had.
    resume = run.recipe_file.exists() if is_restarted() else resume
    if resume:
        run.check_resumable(recipe)
    else:
        run.check_new()
    seed_everything(recipe.seed)
    source = make_source(recipe.source)
    task = TASKS[recipe.task](recipe, source.info)
    if len(task.training_set) < recipe.optimizer.batch_size:
        raise InputError(
            f"expected at least one batch of training images, got {len(task.training_set)} images for batches of "
            f"{recipe.optimizer.batch_size}; lower optimizer.batch_size"
        )
    check_needs(stages, task, source)
    if recipe.evaluation.test_loss and not task.is_closed:
        raise InputError(
            "expected test images of the training classes for evaluation.test_loss, this task tests on other ones; "
            "leave it out"
        )
    fabric = make_fabric(recipe.runtime)
    is_balanced = recipe.data.identities_per_batch is not None
    labels = [task.plain_training_set[i][1] for i in range(len(task.plain_training_set))] if is_balanced else []
    batches = TrainingBatches(recipe, task.training_set, labels, fabric.global_rank, fabric.world_size)
    # Every rank has looked whether the folder is free before one fills it.
    fabric.barrier()
    with _held(run, fabric):
        if not resume and fabric.is_global_zero:
            run.start(recipe)
        fabric.barrier()
        return Training(fabric, recipe, run, stages, task, source, batches, best).fit(resume)


def _held(run: RunFolder, fabric: Fabric) -> AbstractContextManager[object]:
    """Hold the folder on the first rank; what keeps it from that, every rank raises."""
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


class Training:
    """One run of a method's stages.

    Args:
        fabric: Device, precision and ranks.
        recipe: The run.
        run: Its folder.
        stages: The method.
        task: The problem.
        source: The source network, frozen.
        batches: This rank's part of the task's training images.
        best: What the best network is chosen by.
    """

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        run: RunFolder,
        stages: tuple[Stage, ...],
        task: Task,
        source: BackboneModule,
        batches: TrainingBatches,
        best: BestFigure,
    ) -> None:
        self.fabric = fabric
        self.recipe = recipe
        self.run = run
        self.stages = stages
        self.task = task
        self.info: BackboneInfo = source.info
        self.format = memory_format(recipe.runtime)
        self.source = source.to(fabric.device, weights_dtype(recipe.runtime)).to(memory_format=self.format)
        self.untouched: dict[str, float | None] = {}
        self.normalize = Normalize(source.info).to(fabric.device)
        self.batches = batches
        self.best = best
        self.steps_per_epoch = batches.steps_per_epoch
        self.stage_steps = split_steps(recipe.optimizer, stages, self.steps_per_epoch)
        self.knowledge = SourceKnowledge(recipe, run, task, self.source, train)
        self.source_batches = SourceBatches(
            task.source_set, recipe.optimizer.batch_size, recipe.seed, fabric.global_rank, fabric.world_size
        )
        self.diagnosis = Diagnosis()
        self.step = 0
        self.skipped_steps = 0
        self.saved_at = time.monotonic()
        self.saved_step = 0

    def fit(self, resume: bool) -> dict[str, Any]:
        """Train all stages, evaluate, and save the network and the result."""
        if resume and self.run.finished:
            self.fabric.print(f"{self.run.path} is finished; its figures are in {self.run.result_file.name}")
            return {}
        checkpoint = self.run.load_checkpoint() if resume else None
        if checkpoint:
            for record in self.run.metrics():
                self.diagnosis.see(record)
        # From here on one rank writes what all have read.
        self.fabric.barrier()
        try:
            with ExitStack() as stack:
                if self.fabric.is_global_zero:
                    purge_step = checkpoint["step"] if checkpoint else None
                    self.writer = stack.enter_context(closing(SummaryWriter(str(self.run.path), purge_step=purge_step)))
                self.progress = stack.enter_context(
                    TrainingProgress(sum(self.stage_steps), shown=self.fabric.is_global_zero)
                )
                return self._fit_stages(checkpoint)
        except OSError as error:
            raise RunError(
                f"{self.run.path}: expected to write into the run's folder, got: {error}; free some space and go on "
                f"with --resume; the last good checkpoint is of step {self.saved_step}"
            ) from error
        except RuntimeError as error:
            if self.fabric.world_size == 1 or _LOST_RANK not in str(error):
                raise
            raise RunError(
                f"rank {self.fabric.global_rank} lost another rank after step {self.step}; look for that one's "
                f"message, then go on with --resume; the last good checkpoint is of step {self.saved_step}"
            ) from error

    def _fit_stages(self, checkpoint: dict[str, Any] | None) -> dict[str, Any]:
        self.untouched = checkpoint["untouched"] if checkpoint else self._evaluate_untouched()
        settle_source(self.source, self.recipe.source, self.task, self.progress.say)
        self.backbone = copy.deepcopy(self.source)
        if self.recipe.optimizer.sync_batchnorm and self.fabric.world_size > 1:
            sync_batchnorm(self.backbone)
        self._warn_of_small_batches()
        self.head = self._make_head()
        self.trained = nn.ModuleDict({"backbone": self.backbone, "head": self.head})
        decay = self.recipe.optimizer.average_decay
        self.average = None if decay is None else WeightAverage(self.trained, decay)
        if checkpoint:
            self.step = checkpoint["step"]
            self.best.load_state(checkpoint["best"])
            self.skipped_steps = checkpoint["skipped_steps"]
            if self.average:
                self.average.load_state(checkpoint["average"])
        for index in range(checkpoint["stage"] if checkpoint else 0, len(self.stages)):
            self._fit_stage(index, checkpoint)
            checkpoint = None
        if checkpoint:
            # The run was stopped between the end of its last stage and its result.
            self.backbone.load_state_dict(checkpoint["backbone"])
            self.head.load_state_dict(checkpoint["head"])
        return self._finish()

    def _warn_of_small_batches(self) -> None:
        images = self.batches.images_a_pass
        settings = self.recipe.optimizer
        has_batchnorm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.backbone.modules())
        if has_batchnorm and not (settings.frozen_batchnorm or settings.sync_batchnorm) and images < _SMALLEST_BATCH:
            self.progress.say(
                f"warning: BatchNorm sees {images} images a pass, fewer than {_SMALLEST_BATCH}: its statistics are "
                "noise; raise optimizer.batch_size, lower optimizer.accumulate, set optimizer.frozen_batchnorm = true "
                "(or optimizer.sync_batchnorm = true with several ranks)"
            )

    def _make_head(self) -> Head:
        seed_everything(self.recipe.seed, 0)
        classes = len(self.task.classes)
        head = HEADS[self.recipe.head.name](self.info.embedding_size, classes, **self.recipe.head.options)
        if self.recipe.head.start == "class_means":
            # Every rank computes them: the same images and the same network give the same means.
            embeddings = embed_dataset(self.source, self.task.plain_training_set)
            labels = torch.tensor([self.task.plain_training_set[i][1] for i in range(len(embeddings))])
            head.start_from_class_means(class_means(embeddings, labels, classes))
        return head.to(self.fabric.device, weights_dtype(self.recipe.runtime))

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
            self.fabric.strategy.precision.load_state_dict(checkpoint["precision"])
            set_random_state(checkpoint["random"][self.fabric.global_rank % len(checkpoint["random"])])
        else:
            self.best.start_stage()
        wrapped.train()
        window = LossWindow(stage.name)
        with closing(self._batches(self.step, first + steps)) as batches:
            for parts in batches:
                progress = (self.step - first) / steps
                rate = stage_rate(self.recipe.optimizer, stage, progress)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                more = self._source_batch(progress) if objective.reads_source_images else ()
                losses = self._compute_gradients(wrapped, optimizer, parts, more)
                self._clip(wrapped, wrapped_optimizer)
                wrapped_optimizer.step()
                if self.average:
                    self.average.update(self.trained)
                self.step += 1
                window.add(self.step, rate, losses)
                is_last = self.step == first + steps
                is_logged = is_last or self.step % self.recipe.runtime.log_every_steps == 0
                if is_logged:
                    self._log(window)
                if self._evaluation_is_due():
                    self._evaluate()
                if self.recipe.evaluation.test_loss and (is_last or self._evaluation_is_due()):
                    self._log_test_losses(stage, objective)
                if self.best.is_exhausted:
                    break
                # After the evaluation: a run killed in between measures again instead of missing a figure.
                if is_logged and not is_last:
                    self._save_if_due(index, objective, optimizer)
                self.progress.advance(self.step, rate)
        self._skip_to(first + steps)
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
        seed_stage(self.recipe.seed, index)
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

    def _batches(self, first: int, end: int) -> Generator[list[tuple[Tensor, Tensor]], None, None]:
        """Give the batches of global steps ``first`` to ``end``, on the device and normalised."""
        with closing(self.batches.between(first, end)) as batches:
            for parts in batches:
                yield [
                    (
                        self._to_input(images.to(self.fabric.device, non_blocking=True)),
                        labels.to(self.fabric.device, non_blocking=True),
                    )
                    for images, labels in parts
                ]

    def _to_input(self, images: Tensor) -> Tensor:
        normalised: Tensor = self.normalize(images)
        return normalised.contiguous(memory_format=self.format)

    def _compute_gradients(
        self,
        wrapped: nn.Module,
        optimizer: torch.optim.Optimizer,
        parts: list[tuple[Tensor, Tensor]],
        more: tuple[Tensor, ...],
    ) -> dict[str, Tensor]:
        """Run the parts of a step's batch forward and backward; give the losses, means over the batch."""
        optimizer.zero_grad()
        total: dict[str, Tensor] = {}
        for number, (images, labels) in enumerate(parts, start=1):
            with self.fabric.no_backward_sync(cast(Any, wrapped), enabled=number < len(parts)):
                losses: dict[str, Tensor] = wrapped(images, labels, *more)
                self.fabric.backward(torch.stack(list(losses.values())).sum() / len(parts))
            for name, loss in losses.items():
                share = loss.detach() / len(parts)
                total[name] = share if number == 1 else total[name] + share
        return total

    def _clip(self, wrapped: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        if self.recipe.optimizer.clip_norm is not None:
            # A gradient that is not finite shows in the loss, and is reported there.
            self.fabric.clip_gradients(
                wrapped, cast(Any, optimizer), max_norm=self.recipe.optimizer.clip_norm, error_if_nonfinite=False
            )

    def _skip_to(self, end: int) -> None:
        """End a stage whose patience is over; the next one starts where it would have."""
        if self.step == end:
            return
        self.progress.say(
            f"no better figure for {self.recipe.evaluation.patience} evaluations: on after step {self.step}"
        )
        self.skipped_steps += end - self.step
        self.step = end

    def _source_batch(self, progress: float) -> tuple[Tensor, Tensor, Tensor]:
        """Give this step's batch of the source's own images, and how much it still counts."""
        images, labels = self.source_batches.batch(self.step)
        images = self._to_input(images.to(self.fabric.device))
        return images, labels.to(self.fabric.device), torch.tensor(1 - progress, device=self.fabric.device)

    def _evaluation_is_due(self) -> bool:
        every = max(1, round(self.recipe.evaluation.every_epochs * self.steps_per_epoch))
        return self.step % every == 0 and self.step != sum(self.stage_steps)

    @property
    def evaluated(self) -> tuple[BackboneModule, Head]:
        """The network and the head that are measured and saved: the averages of the weights, if there are any."""
        modules = cast(nn.ModuleDict, self.average.network) if self.average else self.trained
        return cast(BackboneModule, modules["backbone"]), cast(Head, modules["head"])

    def _evaluate(self) -> None:
        self._check_weights()
        backbone, head = self.evaluated
        figures = self.task.evaluate(backbone, head, self.recipe.evaluation.pairs[:1])
        self._record(figures, self.step)
        if self.best.see(self.step, figures) and self.fabric.is_global_zero:
            self.run.save_best(backbone, head, self.recipe, self.task.classes)

    def _check_weights(self) -> None:
        """Neither measure nor keep a network that the last step broke; its loss would show it only in the next."""
        if not nn.utils.get_total_norm(self.trained.parameters()).isfinite():
            raise RunError(
                f"the network's weights are no longer finite after step {self.step}; lower optimizer.learning_rate or "
                f"the method's alpha; the last good checkpoint is of step {self.saved_step}"
            )

    def _evaluate_untouched(self) -> dict[str, float | None]:
        if not self.recipe.evaluation.untouched:
            return {}
        self.progress.say("measuring the untouched source")
        figures = self.task.evaluate(self.source, None, self.recipe.evaluation.pairs)
        self._record(figures, 0)
        return figures

    def _record(self, figures: dict[str, float | None], step: int) -> None:
        """Write figures down as those of the network after a step."""
        if not self.fabric.is_global_zero:
            return
        self.run.log({"step": step, "figures": figures})
        for name, figure in figures.items():
            if figure is not None:
                self.writer.add_scalar(name, figure, step)
        self.progress.figures(step, figures)

    def _log(self, window: LossWindow) -> None:
        record = window.summarise(self.saved_step, self.fabric.all_reduce)
        if self.fabric.is_global_zero:
            epoch = self.step / self.steps_per_epoch
            self.run.log({"step": self.step, "epoch": round(epoch, 4), **record})
            for name, value in record["losses"].items():
                self.writer.add_scalar(f"loss/{name}", value, self.step)
            self.writer.add_scalar("learning_rate", record["learning_rate"], self.step)
        self.progress.losses(record["losses"])
        self._warn(self.diagnosis.see(record))

    def _log_test_losses(self, stage: Stage, objective: Objective) -> None:
        losses = mean_losses(
            objective,
            cast(TrainingSet, self.task.test_set),
            lambda images: self._to_input(images.to(self.fabric.device)),
        )
        if self.fabric.is_global_zero and losses:
            self.run.log({"step": self.step, "stage": stage.name, "test_losses": losses})
            for name, value in losses.items():
                self.writer.add_scalar(f"test_loss/{name}", value, self.step)

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
        self._check_weights()
        random = all_random_states()
        if self.fabric.is_global_zero:
            reference = self.reference.state_dict() if objective and self.reference is not self.source else None
            self.writer.flush()
            self.run.save_checkpoint(
                {
                    "stage": index,
                    "step": self.step,
                    "untouched": self.untouched,
                    "backbone": dict(self.backbone.state_dict()),
                    "facts": facts_to_metadata(self.info),
                    "head": dict(self.head.state_dict()),
                    "terms": dict(objective.terms.state_dict()) if objective else None,
                    "reference": dict(reference) if reference else None,
                    "optimizer": optimizer.state_dict() if optimizer else None,
                    "random": random,
                    "precision": self.fabric.strategy.precision.state_dict(),
                    "average": self.average.state() if self.average else None,
                    "best": self.best.state(),
                    "skipped_steps": self.skipped_steps,
                }
            )
        self.saved_at, self.saved_step = time.monotonic(), self.step

    def _finish(self) -> dict[str, Any]:
        self.progress.say("measuring the trained network")
        chosen, head = self.evaluated
        figures = self.task.evaluate(chosen, head, self.recipe.evaluation.pairs)
        self._record(figures, self.step)
        if self.best.name and not self.best.see(self.step, figures) and self.run.best_file.exists():
            self.progress.say(f"the best network by {self.best.name} is that of step {self.best.step}; measuring that")
            chosen = load_backbone_file(self.run.best_file).to(self.fabric.device)
            head.load_state_dict(load_file(self.run.best_head_file))
            figures = self.task.evaluate(chosen, head, self.recipe.evaluation.pairs)
            self._record(figures, self.best.step)
        self._warn(self.diagnosis.end_stage() + compare_with_untouched(figures, self.untouched))
        result = {
            "method": self.recipe.method.name,
            "seed": self.recipe.seed,
            "steps": self.step - self.skipped_steps,
            "figures": figures,
            "untouched": self.untouched,
            **({"best": self.best.state()} if self.best.name else {}),
            "details": self.task.details(chosen, head) if self.task.details else {},
            "data": self.task.fingerprints,
            "environment": describe_environment(chosen),
        }
        if self.fabric.is_global_zero:
            self.run.save_model(chosen, self.recipe)
            self.run.save_head(head, self.recipe, self.task.classes)
            self.run.save_result(result)
        self.fabric.barrier()
        return result
