"""The losses of the last steps with the check that they are finite, and those on images not trained on."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from facexfer.data.training_set import TrainingSet
from facexfer.errors import DivergedError
from facexfer.transfer.objective import Objective


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

    @property
    def is_empty(self) -> bool:
        """Whether every step so far is in a record."""
        return not self._steps

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of the steps that are not yet in any record."""
        losses = [loss.cpu() for loss in self._losses]
        return {"steps": list(self._steps), "names": list(self._names), "losses": losses}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._steps, self._names, self._losses = list(state["steps"]), list(state["names"]), list(state["losses"])

    def summarise(self, last_good: str, over_ranks: Callable[[Tensor], Any]) -> dict[str, Any]:
        """Return the means since the last call, and start over.

        Args:
            last_good: Which checkpoint is the last good one, for the error.
            over_ranks: The mean over all ranks, so that each has the same record and the same errors.

        Raises:
            DivergedError: If a loss was not finite, with the step, the part and the learning rate.
        """
        # Those of a resumed run's checkpoint come from the host.
        device = self._losses[-1].device
        values: Tensor = over_ranks(torch.stack([losses.to(device) for losses in self._losses])).cpu()
        bad = (~values.isfinite()).nonzero()
        if len(bad) > 0:
            row, part = (int(index) for index in bad[0])
            step, rate = self._steps[row]
            raise DivergedError(
                f"loss part '{self._names[part]}' became {values[row, part].item()} in stage {self.stage} "
                f"at step {step} (learning rate {rate:g}); lower the learning rate or the method's alpha; "
                f"{last_good}"
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


@torch.no_grad()
def mean_losses(
    objective: Objective, dataset: TrainingSet, to_input: Callable[[Tensor], Tensor], batch_size: int = 64
) -> dict[str, float]:
    """Measure the parts of an objective on images of its classes that it is not trained on.

    Args:
        objective: Measured in eval mode; its own mode is restored.
        dataset: The images (3, H, W) uint8 RGB and labels, without augmentation.
        to_input: Makes normalised images (N, 3, H, W) on the objective's device of uint8 ones.
        batch_size: Images at a time.

    Returns:
        The parts by name, each a mean over the images; empty where a part needs the source's own images, companions
        or both spectra, which the test set lacks.
    """
    if objective.reads_source_images or objective.reads_companions or objective.reads_spectra:
        return {}
    was_training = objective.training
    objective.eval()
    sums: dict[str, Tensor] = {}
    # The loader draws a seed for its workers: from a generator of its own, so that measuring changes no later draw.
    own = torch.Generator()
    for images, labels in DataLoader(dataset, batch_size=batch_size, generator=own):  # type: ignore[arg-type]
        inputs = to_input(images)
        for name, loss in objective(inputs, labels.to(inputs.device)).items():
            sums[name] = sums.get(name, 0) + loss.double() * len(images)
    objective.train(was_training)
    return {name: float(total) / len(dataset) for name, total in sums.items()}
