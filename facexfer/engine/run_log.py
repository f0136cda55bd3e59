"""What a run writes down and shows: metrics, TensorBoard, the progress bar, and warnings of what looks wrong."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from facexfer.engine.diagnosis import Diagnosis, compare_with_untouched
from facexfer.engine.progress import TrainingProgress
from facexfer.runs.folder import RunFolder
from facexfer.runtime import Fabric
from facexfer.transfer.stages import Stage


class RunLog:
    """The record of one run, as a context; every rank calls it alike, and the first one writes.

    Args:
        fabric: The ranks.
        run: The folder.
        steps: Of the whole run.
        classes: How many the head tells apart.
        stages: The method.
        resumed_at: The step that a resumed run continues from: its warnings are not repeated.
    """

    def __init__(
        self,
        fabric: Fabric,
        run: RunFolder,
        steps: int,
        classes: int,
        stages: Sequence[Stage],
        resumed_at: int | None,
    ) -> None:
        self._run, self._resumed_at = run, resumed_at
        self._writes = fabric.is_global_zero
        self._progress = TrainingProgress(steps, shown=self._writes)
        self._diagnosis = Diagnosis(classes, stages)
        if resumed_at is not None:
            for record in run.metrics():
                self._diagnosis.see(record)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._writes:
                writer = SummaryWriter(str(self._run.path), purge_step=self._resumed_at)
                self._writer = stack.enter_context(closing(writer))
            stack.enter_context(self._progress)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def is_wrong(self) -> bool:
        """Whether the last losses look like those of a run that fails."""
        return self._diagnosis.is_wrong

    def classification_is_lost(self, test_loss: float | None) -> bool:
        """Whether the head does far worse than a guess, in the last step or on test images."""
        return self._diagnosis.classification_is_lost or self._diagnosis.is_lost_on_test_images(test_loss)

    @property
    def classification_has_not_fallen(self) -> bool:
        """Whether the run ends with a classification loss that is no lower than its first."""
        return self._diagnosis.classification_has_not_fallen

    def symptoms(self) -> str:
        """What the losses showed of a run that failed."""
        return self._diagnosis.symptoms()

    def say(self, line: str) -> None:
        """Show a line."""
        self._progress.say(line)

    def advance(self, step: int, rate: float) -> None:
        """Show how far the run is."""
        self._progress.advance(step, rate)

    def flush(self) -> None:
        """Let TensorBoard's file hold all that came so far."""
        if self._writes:
            self._writer.flush()

    def figures(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Write metrics down as those of the network after a step."""
        if not self._writes:
            return
        self._run.log({"step": step, "figures": figures})
        for name, figure in figures.items():
            if figure is not None:
                self._writer.add_scalar(name, figure, step)
        self._progress.figures(step, figures)

    def losses(self, step: int, epoch: float, record: dict[str, Any]) -> None:
        """Write down the mean losses of the last steps, and warn of what looks wrong in them."""
        if self._writes:
            self._run.log({"step": step, "epoch": round(epoch, 4), **record})
            for name, value in record["losses"].items():
                self._writer.add_scalar(f"loss/{name}", value, step)
            self._writer.add_scalar("learning_rate", record["learning_rate"], step)
        self._progress.losses(record["losses"])
        self._warn(step, self._diagnosis.see(record))

    def test_losses(self, step: int, stage: str, losses: Mapping[str, float]) -> None:
        """Write down losses on images that are not trained on."""
        if self._writes and losses:
            self._run.log({"step": step, "stage": stage, "test_losses": losses})
            for name, value in losses.items():
                self._writer.add_scalar(f"test_loss/{name}", value, step)

    def end(self, step: int, figures: Mapping[str, float | None], untouched: Mapping[str, float | None]) -> None:
        """Warn of a head that has not learnt and of metrics that are behind the untouched source's."""
        self._warn(step, self._diagnosis.end_stage() + compare_with_untouched(figures, untouched))

    def _warn(self, step: int, warnings: list[str]) -> None:
        for warning in warnings:
            self._progress.say(f"warning: {warning}")
            if self._writes:
                self._run.log({"step": step, "warning": warning})
