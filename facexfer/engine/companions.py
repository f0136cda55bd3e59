"""Companions in training: who reads them, which lies over which image, and what the source sees of them itself."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from facexfer.data.augmentation import moves_pixels
from facexfer.data.companions import Pictures, own_companions
from facexfer.data.crops import CropDataset
from facexfer.engine.setup import Setup
from facexfer.errors import InputError
from facexfer.recipe import Recipe
from facexfer.tasks.task import Task
from facexfer.transfer.stages import Need, Stage, classifies


def reads_companions(recipe: Recipe, stages: tuple[Stage, ...]) -> bool:
    """Whether a run reads companions' embeddings: in a term, or in a head that starts from them and classifies."""
    starts = recipe.head.start == "companions" and classifies(stages)
    return starts or any(Need.COMPANIONS in stage.needs for stage in stages)


def reads_companion_maps(stages: tuple[Stage, ...]) -> bool:
    """Whether a run reads companions' maps."""
    return any(Need.COMPANION_MAPS in stage.needs for stage in stages)


def companion_rows(task: Task) -> tuple[list[Pictures], Tensor]:
    """Which picture lies over each image of the mixture.

    Returns:
        All pictures, each set once, and (M,) int64 rows in them, one set behind the other; -1 for an image without a
        companion, or with several or those of other shots, none of which lies over it.
    """
    known: dict[int, Pictures] = {}
    starts: dict[int, int] = {}
    rows: list[int] = []
    for part in task.mixture.parts:
        own = task.companions if part.pictures is None else own_companions(part.pictures)
        if own is None:
            rows += [-1] * len(part.images)
            continue
        # Parts that show the same pictures share them.
        key = id(own.pictures)
        starts.setdefault(key, sum(len(pictures.images) for pictures in known.values()))
        known.setdefault(key, own.pictures)
        rows += [starts[key] + places[0] if own.of_one_shot and len(places) == 1 else -1 for places in own.of_image]
    return list(known.values()), torch.tensor(rows)


def lie_over_images(task: Task) -> bool:
    """Whether a companion lies over any image that is not the companion itself.

    If not, the maps of kept pictures would only hold the network where it is.
    """
    _, rows = companion_rows(task)
    is_kept = torch.cat([torch.full((len(part.images),), part.is_kept) for part in task.mixture.parts])
    return bool((rows[~is_kept] >= 0).any())


def shows_companions(recipe: Recipe) -> bool:
    """Whether the frozen source sees companions instead of training images."""
    return recipe.companions is not None and recipe.companions.shown_to_source


def check_compares(recipe: Recipe, stages: tuple[Stage, ...]) -> None:
    """Check that some stage compares with the source, where that sees companions; a warm-up of the head need not.

    A method whose terms are known only once they are made passes.

    Raises:
        InputError: If none does.
    """
    if shows_companions(recipe) and all(stage.reads("reads_maps", "reads_source") is False for stage in stages):
        raise InputError(
            "expected a method that compares with the source for companions.shown_to_source, such as afa or delta, "
            f"got {recipe.method.name}; leave it out"
        )


def check_parts(recipe: Recipe, task: Task, stages: tuple[Stage, ...]) -> None:
    """Check that a loss reads what batches hold in addition to the training images, which has no label.

    Terms that compare spectra leave it out, and a head that starts from companions has seen them before training.

    Raises:
        InputError: If none does.
    """
    read = ("reads_companions", "reads_companion_maps", "reads_maps", "reads_source")
    if not task.more or any(Need.SPECTRA not in stage.needs and stage.reads(*read) is not False for stage in stages):
        return
    raise InputError(
        f"expected a method with a loss that reads images without labels for {' and '.join(p.name for p in task.more)}"
        f", got {recipe.method.name}, which would only fill its batches with them; take csd, or leave out [pool], "
        "companions.keep and companions.share"
    )


def check_overlap(recipe: Recipe, stages: tuple[Stage, ...]) -> None:
    """Check that images and their companions lie on each other, position by position, where that matters.

    Raises:
        InputError: If an image may have several, or augmentation moves the one and not the other.
    """
    companions, pool = recipe.companions, recipe.pool
    if shows_companions(recipe):
        wish, otherwise = "companions.shown_to_source", ""
        if companions is not None and companions.match == "identity":
            raise InputError(
                'expected one companion per image for companions.shown_to_source, got companions.match = "identity"; '
                'take "capture"'
            )
    elif reads_companion_maps(stages):
        wish, otherwise = "method.map_weight", ", or set method.map_weight = 0"
    else:
        return
    # A picture of another shot lies on no image, whatever moves that; nor does an image without companions count.
    presets = [recipe.data.augmentation] if companions is not None and companions.match != "identity" else []
    if companions is not None and companions.share > 0:
        presets.append(companions.augmentation)
    for preset in [*presets, *([pool.augmentation] if pool is not None else [])]:
        # Of images of other tasks, `flip` draws a crop as well.
        if preset != "none" and (recipe.task != "face" or moves_pixels(preset)):
            raise InputError(
                f"expected augmentation that at most mirrors images for {wish}, got {preset}, which also moves them; "
                f"take {'nir or flip' if recipe.task == 'face' else 'none'}{otherwise}"
            )


def describe_companions(task: Task, recipe: Recipe, stages: tuple[Stage, ...]) -> list[str]:
    """How many training images have no companion, and whether any is of the same shot, where that matters."""
    lines = []
    if reads_companion_maps(stages) and not lie_over_images(task):
        lines.append("no companion is of the same shot as a training image; no maps are compared")
    if task.companions is None or not task.companions.missing:
        return lines
    without = f"{task.companions.missing:,} of {len(task.companions.of_image):,} training images"
    if reads_companions(recipe, stages):
        lines.append(f"{without} have no companion; what reads companions leaves them out")
    if shows_companions(recipe):
        lines.append(f"{without} have no companion; the source sees these images themselves")
    return lines


class ShownImages:
    """The training images as a frozen source sees them that is shown companions: each one's, or else itself.

    Args:
        task: The problem, with its companions.
    """

    def __init__(self, task: Task) -> None:
        self._images, own = task.plain_training_set, task.companions
        of_image: Sequence[Sequence[int]] = [] if own is None or not own.of_one_shot else own.of_image
        self._pictures = self._images if own is None else own.pictures.images
        self._places = {row: places[0] for row, places in enumerate(of_image) if len(places) == 1}
        self.labels = self._images.labels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """What is seen for an image, (3, H, W) uint8 RGB, and the image's label."""
        place = self._places.get(index)
        image, _ = self._images[index] if place is None else self._pictures[place]
        return image, self.labels[index]

    def set_epoch(self, epoch: int) -> None:
        """Nothing: pictures are seen as they are."""


class ShownCompanions:
    """The companions' pictures, as the reference network sees them instead of the training images.

    Args:
        setup: The run.

    Raises:
        InputError: If the pictures do not fit into memory.
    """

    def __init__(self, setup: Setup) -> None:
        pictures, rows = companion_rows(setup.task)
        pixels = [
            cast(CropDataset, each.images).pixels("companions.shown_to_source", "leave it out") for each in pictures
        ]
        self._pictures = torch.cat(pixels).to(setup.fabric.device)
        self._rows = rows.to(setup.fabric.device)

    def instead_of(self, images: Tensor, places: Tensor, mirrored: Tensor) -> Tensor:
        """The companion of each image of a batch, mirrored as the image is; an image without one stands for itself.

        Args:
            images: (N, 3, H, W) uint8 RGB.
            places: (N,) int64 in the mixture.
            mirrored: (N,) bool.

        Returns:
            (N, 3, H, W) uint8 RGB on the run's device.
        """
        device = self._rows.device
        rows = self._rows[places.to(device, non_blocking=True)]
        shown = self._pictures[rows.clamp(min=0)]
        shown = torch.where(mirrored.to(device, non_blocking=True)[:, None, None, None], shown.flip(3), shown)
        return torch.where((rows < 0)[:, None, None, None], images.to(device, non_blocking=True), shown)
