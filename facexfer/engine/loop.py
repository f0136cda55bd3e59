"""The training loop, read top to bottom: one loop for every method, network and task."""

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

import torch
from torch import nn

from facexfer.backbones.parts.carried import facts_to_metadata
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.layers import has_batchnorm
from facexfer.data.training_set import TrainingSet
from facexfer.engine.companion_targets import companion_targets
from facexfer.engine.companions import ShownCompanions, ShownImages, describe_companions, shows_companions
from facexfer.engine.diagnosis import (
    warn_of_idle_batchnorm,
    warn_of_idle_head,
    warn_of_sgd,
    warn_of_small_batches,
)
from facexfer.engine.evaluation import Evaluation
from facexfer.engine.gradients import clip_gradients, compute_gradients
from facexfer.engine.inputs import Inputs
from facexfer.engine.interrupt import StopRequest
from facexfer.engine.knowledge import SourceKnowledge
from facexfer.engine.loss_log import LossWindow, mean_losses
from facexfer.engine.resume import Checkpoints, restore_stage
from facexfer.engine.run_log import RunLog
from facexfer.engine.schedule import split_steps, stage_rate
from facexfer.engine.setup import Setup
from facexfer.engine.source import measure_source, revive_source
from facexfer.engine.stage import choose_reference, make_average, make_head, make_objective, make_optimizer
from facexfer.engine.step import StepCallback, TrainedStep
from facexfer.engine.unread import warn_of_unread
from facexfer.errors import DivergedError, NonFiniteError, RunError
from facexfer.heads import Head
from facexfer.networks.batchnorm import recalibrate_batchnorm
from facexfer.networks.interpolation import interpolate_weights
from facexfer.networks.synced_batchnorm import sync_batchnorm
from facexfer.transfer.objective import Objective
from facexfer.transfer.stages import Stage

_LOST_RANK = "onnection"


class Training:
    """One run of a method's stages.

    Args:
        setup: The run, checked.
        on_step: What is called after each step.
    """

    def __init__(self, setup: Setup, on_step: StepCallback | None = None) -> None:
        self.setup, self.on_step = setup, on_step
        self.fabric, self.recipe, self.run, self.stages = setup.fabric, setup.recipe, setup.run, setup.stages
        self.source, self.best = setup.source, setup.best
        self.steps_per_epoch = setup.batches.steps_per_epoch
        self.stage_steps = split_steps(self.recipe.optimizer, self.stages, self.steps_per_epoch)
        self.inputs = Inputs(setup)
        self.checkpoints = Checkpoints(self.fabric, self.run, self.recipe.runtime.checkpoint_seconds)
        self.untouched: dict[str, float | None] = {}
        self.step = 0
        self.skipped_steps = 0
        self._of_callback: Exception | None = None

    def fit(self, resume: bool) -> dict[str, Any]:
        """Train all stages, evaluate, and save the network and the result."""
        if resume and self.run.finished:
            self.fabric.print(f"{self.run.path} is finished; its figures are in {self.run.result_file.name}")
            result = self.run.read_result()
            if result.get("failure") is not None:
                raise DivergedError(f"{self.run.path}: this run is over and has failed: {result['failure']}")
            return result
        checkpoint = self.run.load_checkpoint() if resume else None
        if checkpoint:
            self.run.check_best(checkpoint["best"]["step"])
            self.checkpoints.restore(checkpoint)
        steps = sum(self.stage_steps)
        resumed_at = checkpoint["step"] if checkpoint else None
        classes = len(self.setup.task.classes)
        self.log = RunLog(self.fabric, self.run, steps, classes, self.stages, resumed_at)
        self.evaluation = Evaluation(self.setup, steps, self.log)
        # From here on one rank writes what all have read.
        self.fabric.barrier()
        try:
            with self.log:
                return self._fit_stages(checkpoint)
        except DivergedError as error:
            if self.fabric.is_global_zero:
                self.run.save_failure(str(error))
            raise
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(str(stop) or self.checkpoints.describe_stop()) from None
        except OSError as error:
            if error is self._of_callback:
                raise
            raise RunError(
                f"{self.run.path}: expected to write into the run's folder, got: {error.strerror or error}; free some "
                f"space and continue with --resume; {self.checkpoints.describe_good()}"
            ) from error
        except RuntimeError as error:
            if self.fabric.world_size == 1 or _LOST_RANK not in str(error):
                raise
            raise RunError(
                f"rank {self.fabric.global_rank} lost another rank after step {self.step}; look for that one's "
                f"message, then continue with --resume; {self.checkpoints.describe_good()}"
            ) from error

    def _fit_stages(self, checkpoint: dict[str, Any] | None) -> dict[str, Any]:
        self._start(checkpoint)
        for index in range(checkpoint["stage"] if checkpoint else 0, len(self.stages)):
            self._fit_stage(index, checkpoint)
            checkpoint = None
        if checkpoint:
            # The run was stopped between the end of its last stage and its result.
            self._restore_networks(checkpoint)
        backbone, head = self._shared()
        self._settle(backbone)
        trained_steps = self.step - self.skipped_steps
        with self._measuring():
            result = self.evaluation.finish(self.step, trained_steps, backbone, head, self.untouched)
        if result["failure"] is not None:
            raise DivergedError(f"{result['failure']}; {self.checkpoints.describe_good(failed_at=self.step)}")
        self.checkpoints.accept()
        return result

    def _settle(self, backbone: BackboneModule) -> None:
        """Interpolate the trained weights with the source's, and measure BatchNorm again, as the recipe asks."""
        settings = self.recipe.optimizer
        if settings.source_share > 0:
            interpolate_weights(backbone, self.source, settings.source_share)
        if settings.measures_at_the_end and has_batchnorm(backbone):
            kept = " and pictures of the source's own spectrum" if settings.final_keep else ""
            self.log.say(f"measuring the trained network's BatchNorm statistics on the training images{kept}")
            images = self.setup.task.at_the_end(settings.final_keep)
            recalibrate_batchnorm(backbone, images, self.recipe.source.variance_floor)

    def _start(self, checkpoint: dict[str, Any] | None) -> None:
        """Settle the source, and make of it and a head what is trained."""
        settings = self.recipe.optimizer
        self.untouched = checkpoint["untouched"] if checkpoint else self.evaluation.of_untouched()
        for line in [*self.setup.task.notes, *describe_companions(self.setup.task, self.recipe, self.stages)]:
            self.log.say(line)
        self.inputs.targets = targets = companion_targets(self.setup)
        self.compared = self.source
        untouched = copy.deepcopy(self.source) if self.recipe.source.recalibrate_batchnorm else None
        revive_source(self.source, self.recipe.source, self.setup.task, self.log.say)
        if shows_companions(self.recipe):
            self.inputs.shown = ShownCompanions(self.setup)
            # Maps are of the same scale in both, but BatchNorm measured on training images does not fit companions.
            self.compared = copy.deepcopy(self.source)
            seen = ShownImages(self.setup.task)
            asked = SourceKnowledge(self.recipe, self.run, self.setup.task, self.compared, seen)
            self.setup = dataclasses.replace(self.setup, knowledge=asked)
        measure_source(self.source, self.recipe.source, self.setup.task, self.log.say)
        self.backbone = copy.deepcopy(self.source)
        if settings.sync_batchnorm and self.fabric.world_size > 1:
            sync_batchnorm(self.backbone)
        ranks = self.fabric.world_size
        small = warn_of_small_batches(self.backbone, settings, self.stages, self.setup.batches.images_a_pass, ranks)
        unread = warn_of_unread(self.recipe, self.setup.task, self.stages, self.source, ranks)
        of_head = warn_of_idle_head(self.recipe, self.stages, self.setup.task.is_closed)
        of_batchnorm = warn_of_idle_batchnorm(self.backbone, settings)
        for warning in [*small, *warn_of_sgd(self.backbone, settings), *of_batchnorm, *of_head, *unread]:
            self.log.say(f"warning: {warning}")
        self.head = make_head(self.setup, None if targets is None else targets.embeddings)
        self.evaluation.start_from(untouched, self.untouched, self.head)
        self.trained = nn.ModuleDict({"backbone": self.backbone, "head": self.head})
        self.average = None if settings.average_decay is None else make_average(self.trained, settings.average_decay)
        if checkpoint:
            self.step, self.skipped_steps = checkpoint["step"], checkpoint["skipped_steps"]
            self.best.load_state(checkpoint["best"])
            self.evaluation.is_behind = checkpoint["is_behind"]
            if self.average:
                self.average.load_state_dict(checkpoint["average"])

    def _fit_stage(self, index: int, checkpoint: dict[str, Any] | None) -> None:
        stage, first = self.stages[index], sum(self.stage_steps[:index])
        end = first + self.stage_steps[index]
        self.step = first
        if checkpoint:
            self._restore_networks(checkpoint)
        objective = self._make_objective(index, checkpoint)
        optimizer = make_optimizer(objective, stage, self.recipe.optimizer, self.source)
        wrapped = self.fabric.setup_module(objective)
        wrapped_optimizer = cast(torch.optim.Optimizer, self.fabric.setup_optimizers(optimizer))
        window = LossWindow(stage.name)
        if checkpoint and checkpoint["terms"] is not None:
            self.step = checkpoint["step"]
            restore_stage(checkpoint, objective.terms, optimizer, self.fabric)
            window.load_state(checkpoint["window"])
        else:
            self.best.start_stage()
        wrapped.train()
        is_stopped = False
        with StopRequest(self.fabric.is_global_zero) as stop, closing(self.inputs.between(self.step, end)) as batches:
            for parts in batches:
                progress = (self.step - first) / (end - first)
                rate = stage_rate(self.recipe.optimizer, stage, progress)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                more = self.inputs.of_source(self.step, progress, len(parts)) if objective.reads_source_images else ()
                losses = compute_gradients(self.fabric, wrapped, optimizer, parts, more)
                clip_gradients(self.fabric, wrapped, wrapped_optimizer, self.recipe.optimizer.clip_norm)
                wrapped_optimizer.step()
                if self.average:
                    self.average.update_parameters(self.trained)
                self.step += 1
                window.add(self.step, rate, losses)
                is_logged = self.step == end or self.step % self.recipe.runtime.log_every_steps == 0
                if is_logged:
                    self._log(window)
                if self.on_step:
                    self._call_back(TrainedStep(self.step, stage.name, losses, self.backbone, self.head))
                self._evaluate(stage, objective, end)
                # After the evaluation: a run killed in between measures again instead of missing a metric.
                is_stopped = self._is_stopped(stop, is_logged or self.best.is_exhausted)
                if self.best.is_exhausted:
                    break
                if self.step != end and (is_stopped or (is_logged and self.checkpoints.are_due())):
                    self._save(index, objective, optimizer, window.state())
                if is_stopped and self.step != end:
                    raise self._stopped()
                self.log.advance(self.step, rate)
        if self.step != end and not window.is_empty:
            self._log(window)
        self._skip_to(end)
        if self.fabric.is_global_zero and any(True for _ in objective.terms.parameters()):
            self.run.save_stage(stage.name, dict(objective.terms.state_dict()), dict(self.reference.state_dict()))
        self._save(index + 1, None, None)
        if is_stopped:
            raise self._stopped()

    def _call_back(self, step: TrainedStep) -> None:
        """Tell the user's function of a step; what it raises is the user's, and no fault of the run's folder."""
        assert self.on_step is not None
        try:
            self.on_step(step)
        except Exception as error:
            self._of_callback = error
            raise

    def _is_stopped(self, stop: StopRequest, is_met: bool) -> bool:
        """Whether the run stops after this step; ranks agree on it where they wait for each other anyway."""
        if self.fabric.world_size == 1:
            return stop.asked
        if not is_met:
            return False
        asked = torch.tensor(float(stop.asked), device=self.fabric.device)
        return bool(self.fabric.all_reduce(asked, reduce_op="max"))

    def _stopped(self) -> KeyboardInterrupt:
        total = sum(self.stage_steps)
        return KeyboardInterrupt(f"stopped after step {self.step} of {total}; continue with --resume")

    def _make_objective(self, index: int, checkpoint: dict[str, Any] | None) -> Objective:
        """Set up a stage; in a later one the reference may be what the stage before has made."""
        # A checkpoint holds those of the first rank: a stage starts from them whether the run was stopped or not.
        self._share_buffers(self.backbone)
        self.reference = choose_reference(self.setup, index, self.compared, self.backbone, checkpoint)
        return make_objective(self.setup, index, self.reference, self.backbone, self.head, self.log.say)

    def _log(self, window: LossWindow) -> None:
        record = window.summarise(self.checkpoints.describe_good(), self.fabric.all_reduce)
        self.log.losses(self.step, self.step / self.steps_per_epoch, record)

    def _evaluate(self, stage: Stage, objective: Objective, end: int) -> None:
        """Measure the network and its losses on test images, where that is due after this step."""
        is_due = self.evaluation.is_due(self.step)
        if is_due:
            self._check_weights()
            with self._measuring():
                self.evaluation.on_the_way(self.step, *self._shared())
        if self.recipe.evaluation.test_loss and (is_due or self.step == end):
            losses = mean_losses(objective, cast(TrainingSet, self.setup.task.test_set), self.inputs.of)
            self.log.test_losses(self.step, stage.name, losses)

    def _skip_to(self, end: int) -> None:
        """End a stage whose patience is over; the next one starts where it would have."""
        if self.step == end:
            return
        self.log.say(f"no better figure for {self.recipe.evaluation.patience} evaluations: on after step {self.step}")
        self.skipped_steps += end - self.step
        self.step = end

    @property
    def evaluated(self) -> tuple[BackboneModule, Head]:
        """The network and the head that are measured and saved: the averages of the weights, if there are any."""
        modules = cast(nn.ModuleDict, self.average.module) if self.average else self.trained
        return cast(BackboneModule, modules["backbone"]), cast(Head, modules["head"])

    def _shared(self) -> tuple[BackboneModule, Head]:
        """What is measured: on every rank with the statistics of the first, which are saved."""
        self._share_buffers(*self.evaluated)
        return self.evaluated

    def _share_buffers(self, *modules: nn.Module) -> None:
        """Put the first rank's BatchNorm statistics on every rank; they differ because each has seen other images."""
        if self.fabric.world_size > 1:
            for buffer in (buffer for module in modules for buffer in module.buffers()):
                torch.distributed.broadcast(buffer, src=0)

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Tell a network that training broke from pictures that failed."""
        try:
            yield
        except NonFiniteError as error:
            raise DivergedError(
                f"the network's embeddings are no longer finite or all zeros after step {self.step}; lower "
                f"optimizer.learning_rate or the method's alpha; {self.checkpoints.describe_good(failed_at=self.step)}"
            ) from error

    def _check_weights(self) -> None:
        """Neither measure nor keep a network that the last step broke; its loss would show it only in the next."""
        if not nn.utils.get_total_norm(self.trained.parameters()).isfinite():
            raise DivergedError(
                f"the network's weights are no longer finite after step {self.step}; lower optimizer.learning_rate or "
                f"the method's alpha; {self.checkpoints.describe_good()}"
            )

    def _restore_networks(self, checkpoint: dict[str, Any]) -> None:
        self.backbone.load_state_dict(checkpoint["backbone"])
        self.head.load_state_dict(checkpoint["head"])

    def _save(
        self,
        index: int,
        objective: Objective | None,
        optimizer: torch.optim.Optimizer | None,
        window: dict[str, Any] | None = None,
    ) -> None:
        self._check_weights()
        self.log.flush()
        reference = self.reference.state_dict() if objective and self.reference is not self.compared else None
        self.checkpoints.save(
            self.step,
            {
                "stage": index,
                "untouched": self.untouched,
                "backbone": dict(self.backbone.state_dict()),
                "facts": facts_to_metadata(self.source.info),
                "head": dict(self.head.state_dict()),
                "terms": dict(objective.terms.state_dict()) if objective else None,
                "reference": dict(reference) if reference else None,
                "optimizer": optimizer.state_dict() if optimizer else None,
                "window": window,
                "average": dict(self.average.state_dict()) if self.average else None,
                "best": self.best.state(),
                "skipped_steps": self.skipped_steps,
                "is_behind": self.evaluation.is_behind,
            },
            self.log.is_wrong or self.evaluation.is_behind,
            is_judged=index < len(self.stages),
        )
