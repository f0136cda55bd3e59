"""Batches as the network takes them: on its device, normalised, in its memory format."""

from collections.abc import Generator
from contextlib import closing

import torch
from torch import Tensor

from facexfer.backbones.parts.normalize import Normalize
from facexfer.engine.setup import Setup
from facexfer.engine.source_batches import SourceBatches
from facexfer.runtime import memory_format


class Inputs:
    """The images of a run, ready for its networks.

    Args:
        setup: The run.
    """

    def __init__(self, setup: Setup) -> None:
        recipe, fabric = setup.recipe, setup.fabric
        self._device = fabric.device
        self._format = memory_format(recipe.runtime)
        self._normalize = Normalize(setup.source.info).to(fabric.device)
        self._batches = setup.batches
        self._source_batches = SourceBatches(
            setup.task.source_set, recipe.optimizer.batch_size, recipe.seed, fabric.global_rank, fabric.world_size
        )

    def between(self, first: int, end: int) -> Generator[list[tuple[Tensor, Tensor]], None, None]:
        """Give the batches of global steps ``first`` to ``end``, each in the parts that a step accumulates over."""
        with closing(self._batches.between(first, end)) as batches:
            for parts in batches:
                yield [(self.of(images), labels.to(self._device, non_blocking=True)) for images, labels in parts]

    def of_source(self, step: int, progress: float) -> tuple[Tensor, Tensor, Tensor]:
        """Give a step's batch of the source's own images, and how much it still counts."""
        images, labels = self._source_batches.batch(step)
        return self.of(images), labels.to(self._device), torch.tensor(1 - progress, device=self._device)

    def of(self, images: Tensor) -> Tensor:
        """Make the network's input (N, 3, H, W) of uint8 RGB images."""
        normalised: Tensor = self._normalize(images.to(self._device, non_blocking=True))
        return normalised.contiguous(memory_format=self._format)
