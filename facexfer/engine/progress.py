"""The progress display of a run."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from facexfer.eval.classification import is_loss


class TrainingProgress:
    """A progress bar with loss parts, rate and time left, and one line an evaluation.

    Args:
        total: Steps of the whole run.
        shown: False on all ranks but one.
    """

    def __init__(self, total: int, shown: bool) -> None:
        self._console = Console(quiet=not shown)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TextColumn("lr {task.fields[rate]:g}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("training", total=total, losses="", rate=0.0, speed="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def advance(self, step: int, rate: float) -> None:
        """Show that ``step`` steps are done at learning rate ``rate``."""
        speed = self._bar.tasks[0].speed
        shown_speed = f"{speed:.1f} steps/s" if speed else ""
        self._bar.update(self._task, completed=step, rate=rate, speed=shown_speed)

    def losses(self, losses: Mapping[str, float]) -> None:
        """Show the loss parts."""
        self._bar.update(self._task, losses=" ".join(f"{name} {value:.3f}" for name, value in losses.items()))

    def figures(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Print the metrics of an evaluation; nothing where there are none, as of classes without a head."""
        if figures:
            self.say(f"step {step}: {'  '.join(_shown(name, value) for name, value in figures.items())}")


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return f"{name} unsupported"
    return f"{name} {value:.4f}" if is_loss(name) else f"{name} {100 * value:.2f} %"
