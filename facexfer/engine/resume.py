"""Whether a run continues from a checkpoint, when one is saved, and what comes back from it."""

import time
from typing import Any

import torch
from torch import nn

from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder
from facexfer.runs.state import all_random_states, set_random_state
from facexfer.runtime import Fabric, is_restarted


def is_resumed(run: RunFolder, recipe: Recipe, asked: bool) -> bool:
    """Decide whether a run continues from what its folder holds, and check that the folder is fit for it.

    Args:
        run: The folder.
        recipe: What is to be run.
        asked: Whether the user wants to continue; torchrun starts lost ranks again with the command they had, and then
            the folder decides.

    Returns:
        Whether it does.

    Raises:
        InputError: If there is a run in the folder of a new one, none in that of one to resume, or one of another
            recipe.
        DivergedError: If the run to resume has failed.
    """
    resume = run.recipe_file.exists() if is_restarted() else asked
    if resume:
        run.check_resumable(recipe)
        go_on = "" if run.finished else f", or remove {run.failure_file.name} to continue all the same"
        run.check_not_failed(
            "the same recipe would fail again: start again with another --out and what it names changed by "
            f"--set{go_on}"
        )
    else:
        run.check_new()
    return resume


class Checkpoints:
    """Saves the training state of a run now and then, and knows how far the last one came.

    Args:
        fabric: Its first rank writes.
        run: The folder.
        seconds: How long to wait between two.
    """

    def __init__(self, fabric: Fabric, run: RunFolder, seconds: float) -> None:
        self._fabric, self._run, self._seconds = fabric, run, seconds
        self._saved_at = time.monotonic()
        self._was_wrong = False
        self._kept_step = 0
        self.good_step = 0

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from a state that `save` saved, from within a stage or between two: with the precision's loss scale."""
        self._was_wrong, self.good_step = checkpoint["is_wrong"], checkpoint["good_step"]
        self._kept_step = checkpoint.get("kept_step", 0)
        if checkpoint["precision"]:
            # Empty where the run began in another precision, which has nothing to put back.
            self._fabric.strategy.precision.load_state_dict(checkpoint["precision"])

    def describe_good(self, failed_at: int | None = None) -> str:
        """Where the last good state is.

        Args:
            failed_at: The step of a network that has just been found to be broken.
        """
        if not self._run.checkpoint_file.exists():
            return "no checkpoint has been saved yet"
        if self.good_step == failed_at and self._kept_step > 0 and self._run.good_file.exists():
            kept = f"the one before it, of step {self._kept_step}, is kept as {self._run.good_file.name}"
            return f"the last checkpoint is of this very network; {kept}"
        if self.good_step == failed_at:
            return "no good checkpoint is left: the last one is of this very network"
        if self.good_step == 0:
            return "there is no good checkpoint: the run looked wrong before the first one"
        good = f", {self._run.good_file.name}" if self._was_wrong else ""
        return f"the last good checkpoint is of step {self.good_step}{good}"

    def describe_stop(self) -> str:
        """What to do after a stop at once, between two checkpoints or before the first."""
        way = "continue with --resume" if self._run.checkpoint_file.exists() else "--resume starts from the beginning"
        return f"stopped; {self.describe_good()}; {way}"

    def are_due(self) -> bool:
        """Whether a checkpoint is due; the first rank's clock counts."""
        due = time.monotonic() - self._saved_at >= self._seconds
        return self._fabric.broadcast(due) if self._fabric.world_size > 1 else due

    def save(self, step: int, state: dict[str, Any], is_wrong: bool, is_judged: bool = True) -> None:
        """Save a state with the random numbers of every rank; each rank must call it.

        Args:
            step: How far the run is.
            state: What is saved.
            is_wrong: Whether the run looks as if it failed; the last good state is then kept as well.
            is_judged: False for the last state of a run, whose network is still to be measured: the last good state is
                kept until `accept`.

        Raises:
            RunError: If the file cannot be written; the old one is intact.
        """
        random = all_random_states()
        keeps = is_wrong or not is_judged
        self._kept_step = self.good_step if keeps else 0
        if self._fabric.is_global_zero:
            precision = self._fabric.strategy.precision.state_dict()
            if keeps and not self._was_wrong:
                self._run.keep_good_checkpoint()
            wrong = {"is_wrong": is_wrong, "good_step": self.good_step if is_wrong else step}
            wrong["kept_step"] = self._kept_step
            self._run.save_checkpoint({"step": step, **state, **wrong, "random": random, "precision": precision})
            if not keeps:
                self._run.good_file.unlink(missing_ok=True)
        self._saved_at, self._was_wrong = time.monotonic(), is_wrong
        self.good_step = self.good_step if is_wrong else step

    def accept(self) -> None:
        """Drop the state that was kept in case that the trained network turned out to be broken."""
        if self._fabric.is_global_zero and not self._was_wrong:
            self._run.good_file.unlink(missing_ok=True)


def restore_stage(
    checkpoint: dict[str, Any], terms: nn.Module, optimizer: torch.optim.Optimizer, fabric: Fabric
) -> None:
    """Put back what a checkpoint from within a stage holds in addition to the network and the head.

    Args:
        checkpoint: As `Checkpoints.save` wrote it.
        terms: The stage's, in place.
        optimizer: In place.
        fabric: Whose random numbers are put back.
    """
    terms.load_state_dict(checkpoint["terms"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    set_random_state(checkpoint["random"][fabric.global_rank % len(checkpoint["random"])])
