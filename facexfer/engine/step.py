"""What your own program sees of each training step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from facexfer.backbones.parts.info import BackboneModule
from facexfer.heads import Head


@dataclass(frozen=True)
class TrainedStep:
    """A step that has been taken, before anything is measured or saved of it.

    Args:
        number: Steps taken in the whole run, this one included.
        stage: The stage's name.
        losses: The parts of the loss by name, scalars on the device: means over this rank's batch before the step.
        backbone: The network as the step has left it; in training mode.
        head: The head as the step has left it.
    """

    number: int
    stage: str
    losses: Mapping[str, Tensor]
    backbone: BackboneModule
    head: Head


StepCallback: TypeAlias = Callable[[TrainedStep], object]
"""Called on every rank after each step; what it raises ends the run, which can be resumed."""
