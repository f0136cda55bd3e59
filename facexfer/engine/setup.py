"""What a run works with, as one value that the parts of the engine share."""

from dataclasses import dataclass

from facexfer.backbones.parts.info import BackboneModule
from facexfer.engine.batches import TrainingBatches
from facexfer.engine.best import BestMetric
from facexfer.engine.knowledge import SourceKnowledge
from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder
from facexfer.runtime import Fabric
from facexfer.tasks.task import Task
from facexfer.transfer.stages import Stage


@dataclass(frozen=True)
class Setup:
    """A run that has passed its checks.

    Attributes:
        fabric: Device, precision and ranks.
        recipe: The run.
        run: Its folder.
        stages: The method.
        task: The problem.
        source: The source network, frozen, on its device.
        batches: This rank's part of the task's training images.
        best: What the best network is chosen by.
        knowledge: What the methods ask about the source.
    """

    fabric: Fabric
    recipe: Recipe
    run: RunFolder
    stages: tuple[Stage, ...]
    task: Task
    source: BackboneModule
    batches: TrainingBatches
    best: BestMetric
    knowledge: SourceKnowledge
