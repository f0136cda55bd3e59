"""Training batches that never leave the device: all crops lie there as bytes and are augmented there."""

from collections.abc import Generator

import torch
from torch import Tensor

from facexfer.data.crops import CropDataset
from facexfer.data.device_augmentation import DEVICE_PRESETS, augment_and_tell
from facexfer.data.mixture import Mixture, Part
from facexfer.engine.batches import ImageBatch, TrainingBatches
from facexfer.errors import InputError
from facexfer.recipe import Recipe
from facexfer.runtime import Fabric


def make_batches(recipe: Recipe, images: Mixture, fabric: Fabric) -> TrainingBatches:
    """Make a run's batches as ``runtime.augment`` says.

    Args:
        recipe: The run.
        images: What is drawn from.
        fabric: Device and ranks.

    Raises:
        InputError: If the batch cannot be shared, or the images cannot be augmented on the device.
    """
    if recipe.runtime.augment == "workers":
        return TrainingBatches(recipe, images, fabric.global_rank, fabric.world_size)
    return DeviceBatches(recipe, images, fabric)


class DeviceBatches(TrainingBatches):
    """The same images in the same order as `TrainingBatches`; augmentation draws other numbers.

    Args:
        recipe: As there.
        images: Aligned crops with presets that `DEVICE_PRESETS` has.
        fabric: Device and ranks.

    Raises:
        InputError: As there, or if the images cannot be augmented on the device.
    """

    def __init__(self, recipe: Recipe, images: Mixture, fabric: Fabric) -> None:
        super().__init__(recipe, images, fabric.global_rank, fabric.world_size)
        self._presets = [_preset(part) for part in images.parts]
        self.device = fabric.device
        self._crops: dict[int, Tensor] = {}
        self._labels = torch.empty(0)

    def between(self, first: int, end: int) -> Generator[list[ImageBatch], None, None]:
        """Yield the batches of the run's steps ``first`` to ``end``, as `TrainingBatches` does, on the device."""
        self._load()
        step = first
        while step < end:
            epoch, start = divmod(step, self.steps_per_epoch)
            for batch in self.epoch(epoch)[start : start + end - step]:
                yield [self._augmented(places, step, number) for number, places in enumerate(self.split(batch))]
                step += 1

    def _load(self) -> None:
        """Bring the crops to the device; parts that show the same ones share them."""
        if self._crops:
            return
        for part in self._images.parts:
            crops = _crops(part)
            if id(crops.store) not in self._crops:
                pixels = crops.pixels("runtime.augment = 'device'", "take 'workers'")
                self._crops[id(crops.store)] = pixels.to(self.device)
        self._labels = torch.tensor(self._images.labels, device=self.device)

    def _augmented(self, places: list[int], step: int, number: int) -> ImageBatch:
        """The images at some places, those of each part augmented by its preset."""
        found = [self._images.part_of(place) for place in places]
        order, batches, turned = [], [], []
        for part, preset in enumerate(self._presets):
            rows = [row for row, (owner, _) in enumerate(found) if owner == part]
            if not rows:
                continue
            crops = self._crops[id(_crops(self._images.parts[part]).store)]
            chosen = crops[self._to_device([found[row][1] for row in rows])]
            # Every part, rank and pass draws its own numbers.
            seed = (self._seed * 1_009 + part) * 1_009 + self._rank
            images, mirrored = augment_and_tell(chosen, preset, seed, step * self._parts + number)
            batches.append(images)
            turned.append(mirrored)
            order += rows
        images, mirrored = torch.cat(batches), torch.cat(turned)
        if order != sorted(order):
            back = self._to_device(sorted(range(len(order)), key=order.__getitem__))
            images, mirrored = images[back], mirrored[back]
        at = self._to_device(places)
        return images, self._labels[at], at, mirrored

    def _to_device(self, numbers: list[int]) -> Tensor:
        held = torch.tensor(numbers)
        if self.device.type == "cuda":
            return held.pin_memory().to(self.device, non_blocking=True)
        return held.to(self.device)


def _crops(part: Part) -> CropDataset:
    if not isinstance(part.images, CropDataset):
        raise InputError(f"expected aligned crops for runtime.augment = 'device', got {part.name}; take 'workers'")
    return part.images


def _preset(part: Part) -> str:
    preset = _crops(part).preset
    if preset is None:
        raise InputError(
            f"expected crops with a preset for runtime.augment = 'device', got {part.name}; take 'workers'"
        )
    DEVICE_PRESETS[preset]  # an unknown preset is an error before any work
    return preset
