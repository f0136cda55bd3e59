"""Whether a run goes on from a checkpoint, when one is saved, and what comes back from it."""

import time
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder
from facexfer.runs.state import all_random_states, set_random_state
from facexfer.runtime import is_restarted


def is_resumed(run: RunFolder, recipe: Recipe, asked: bool) -> bool:
    """Decide whether a run goes on from what its folder holds, and check that the folder is fit for it.

    Args:
        run: The folder.
        recipe: What is to be run.
        asked: Whether the user wants to go on; torchrun starts lost ranks again with the command they had, and then
            the folder decides.

    Returns:
        Whether it does.

    Raises:
        InputError: If there is a run in the folder of a new one, none in that of one to resume, or one of another
            recipe.
    """
    resume = run.recipe_file.exists() if is_restarted() else asked
    if resume:
        run.check_resumable(recipe)
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
        self.last_step = 0

    def are_due(self) -> bool:
        """Say whether the time has come; the first rank's clock counts."""
        due = time.monotonic() - self._saved_at >= self._seconds
        return self._fabric.broadcast(due) if self._fabric.world_size > 1 else due

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Save a state with the random numbers of every rank; each rank must call it.

        Raises:
            RunError: If the file cannot be written; the old one is intact.
        """
        random = all_random_states()
        if self._fabric.is_global_zero:
            precision = self._fabric.strategy.precision.state_dict()
            self._run.save_checkpoint({"step": step, **state, "random": random, "precision": precision})
        self._saved_at, self.last_step = time.monotonic(), step


def restore_stage(
    checkpoint: dict[str, Any], terms: nn.Module, optimizer: torch.optim.Optimizer, fabric: Fabric
) -> None:
    """Put back what a checkpoint from within a stage holds beside the network and the head.

    Args:
        checkpoint: As `Checkpoints.save` wrote it.
        terms: The stage's, in place.
        optimizer: In place.
        fabric: Its precision, in place, and whose random numbers are put back.
    """
    terms.load_state_dict(checkpoint["terms"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    fabric.strategy.precision.load_state_dict(checkpoint["precision"])
    set_random_state(checkpoint["random"][fabric.global_rank % len(checkpoint["random"])])
