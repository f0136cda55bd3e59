"""Batches as the network takes them: on its device, normalised, in its memory format."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from facexfer.backbones.parts.normalize import Normalize
from facexfer.engine.companion_targets import CompanionTargets
from facexfer.engine.companions import ShownCompanions
from facexfer.engine.setup import Setup
from facexfer.engine.source_batches import SourceBatches
from facexfer.runtime import memory_format, weights_dtype


@dataclass(frozen=True)
class Batch:
    """What a step's forward pass takes.

    Attributes:
        images: (N, 3, H, W), normalised.
        labels: (N,) int64, -1 for an image without one.
        companions: (N, D) unit embeddings of the images' companions, zero for an image without; None in a run without.
        spectra: (N,) int64 places in the recipe's modalities, -1 for images of other sets; None in a task without.
        companion_maps: (N, C, H, W) float16 maps of the companions, likewise; None where nothing reads them.
        companion_images: (N, 3, H, W), normalised, what the reference network sees instead; None, it sees the same.
    """

    images: Tensor
    labels: Tensor
    companions: Tensor | None
    companion_maps: Tensor | None
    spectra: Tensor | None
    companion_images: Tensor | None

    @property
    def extras(self) -> dict[str, Tensor]:
        """What the objective takes in addition to images and labels, by the names of its arguments."""
        known = {
            "companions": self.companions,
            "companion_maps": self.companion_maps,
            "spectra": self.spectra,
            "companion_images": self.companion_images,
        }
        return {name: values for name, values in known.items() if values is not None}


class Inputs:
    """The images of a run, ready for its networks.

    Args:
        setup: The run.

    Attributes:
        targets: What the source makes of the companions, once it is known.
        shown: The companions' pictures, where the reference network sees them.
    """

    targets: CompanionTargets | None = None
    shown: ShownCompanions | None = None
    _spectra: Tensor | None

    def __init__(self, setup: Setup) -> None:
        recipe, fabric = setup.recipe, setup.fabric
        self._device = fabric.device
        self._format, self._dtype = memory_format(recipe.runtime), weights_dtype(recipe.runtime)
        self._normalize = Normalize(setup.source.info).to(fabric.device)
        self._batches = setup.batches
        spectra = setup.task.spectra
        if spectra is None:
            self._spectra = None
        else:
            others = sum(len(part.images) for part in setup.task.more)
            self._spectra = torch.tensor([*spectra, *[-1] * others], device=fabric.device)
        self._source_batches = SourceBatches(
            setup.task.source_set, recipe.optimizer.batch_size, recipe.seed, fabric.global_rank, fabric.world_size
        )

    def between(self, first: int, end: int) -> Generator[list[Batch], None, None]:
        """Yield the batches of global steps ``first`` to ``end``, each in the parts that a step accumulates over."""
        with closing(self._batches.between(first, end)) as batches:
            for parts in batches:
                yield [
                    Batch(
                        self.of(images),
                        labels.to(self._device, non_blocking=True),
                        self._rows(None if self.targets is None else self.targets.embeddings, places),
                        self._maps(places, mirrored),
                        self._rows(self._spectra, places),
                        None if self.shown is None else self.of(self.shown.instead_of(images, places, mirrored)),
                    )
                    for images, labels, places, mirrored in parts
                ]

    def _rows(self, known: Tensor | None, places: Tensor) -> Tensor | None:
        return None if known is None else known[places.to(self._device, non_blocking=True)]

    def _maps(self, places: Tensor, mirrored: Tensor) -> Tensor | None:
        if self.targets is None or self.targets.maps is None:
            return None
        maps = self.targets.maps.of(places, mirrored)
        # From page-locked memory the copy does not make the step wait.
        is_pinned = self._device.type == "cuda" and maps.device.type == "cpu"
        return (maps.pin_memory() if is_pinned else maps).to(self._device, non_blocking=True)

    def of_source(self, step: int, progress: float, parts: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        """A step's batch of the source's own images in as many parts as the target's, each with its current weight."""
        images, labels = self._source_batches.batch(step)
        share = torch.tensor(1 - progress, device=self._device)
        # So few images are seen with every part: BatchNorm needs two at a time.
        stride = parts if len(labels) >= 2 * parts else 1
        return [
            (self.of(images[number % stride :: stride]), labels[number % stride :: stride].to(self._device), share)
            for number in range(parts)
        ]

    def of(self, images: Tensor) -> Tensor:
        """Make the network's input (N, 3, H, W) of uint8 RGB images."""
        normalised: Tensor = self._normalize(images.to(self._device, non_blocking=True))
        return normalised.to(self._dtype).contiguous(memory_format=self._format)
