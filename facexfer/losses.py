"""The losses of the last steps, and the check that they are finite."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from facexfer.errors import RunError


class LossWindow:
    """The losses since the last log line, kept on the device so that a step never waits for the host.

    Args:
        stage: The stage's name, for records and errors.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._steps: list[tuple[int, float]] = []
        self._losses: list[Tensor] = []
        self._names: list[str] = []

    def add(self, step: int, rate: float, losses: dict[str, Tensor]) -> None:
        """Keep one step's losses."""
        self._steps.append((step, rate))
        self._names = list(losses)
        self._losses.append(torch.stack([loss.detach().float() for loss in losses.values()]))

    def summarise(self, last_good_step: int, over_ranks: Callable[[Tensor], Any]) -> dict[str, Any]:
        """Give the means since the last call, and forget.

        Args:
            last_good_step: The step of the last checkpoint, for the error.
            over_ranks: The mean over all ranks, so that each has the same record and the same errors.

        Raises:
            RunError: If a loss was not finite, with the step, the part and the learning rate.
        """
        values: Tensor = over_ranks(torch.stack(self._losses)).cpu()
        bad = (~values.isfinite()).nonzero()
        if len(bad) > 0:
            row, part = (int(index) for index in bad[0])
            step, rate = self._steps[row]
            raise RunError(
                f"loss part '{self._names[part]}' became {values[row, part].item()} in stage {self.stage} "
                f"at step {step} (learning rate {rate:g}); lower the learning rate or the method's alpha; "
                f"the last good checkpoint is of step {last_good_step}"
            )
        means = values.mean(dim=0).tolist()
        record = {
            "stage": self.stage,
            "learning_rate": self._steps[-1][1],
            "losses": dict(zip(self._names, means, strict=True)),
        }
        self._steps.clear()
        self._losses.clear()
        return record
