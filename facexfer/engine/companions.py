"""Companions in training: where the untouched source puts each of them, and what it sees of them itself."""

import hashlib
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from facexfer.data.augmentation import moves_pixels
from facexfer.data.companions import Pictures, own_companions
from facexfer.data.crops import CropDataset
from facexfer.data.training_set import TrainingSet
from facexfer.engine.setup import Setup
from facexfer.errors import InputError
from facexfer.networks.embedding import embed_dataset
from facexfer.networks.fingerprint import weights_digest
from facexfer.recipe import Recipe
from facexfer.runs.state import load_state, save_state
from facexfer.tasks.task import Task
from facexfer.transfer.stages import Need, Stage


def companion_targets(setup: Setup) -> Tensor | None:
    """The companion's embedding for every image that can be in a batch.

    The embedding is the unit sum of a picture's and its mirror image's unit embeddings; several companions of one image
    are summed likewise. The result is kept in ``data.cache``, or else in the run folder, under a fingerprint of the
    network and the pictures.

    Args:
        setup: The run; its source must still be untouched.

    Returns:
        (M, D) unit rows on the run's device, in the order of the mixture's images, zero where an image has no
        companion; None if nothing reads companions.
    """
    if not reads_companions(setup.recipe, setup.stages):
        return None
    companions, network = setup.task.companions, weights_digest(setup.source)
    targets = []
    for part in setup.task.mixture.parts:
        if part.pictures is not None:
            targets.append(_embeddings(setup, part.pictures, network))
        elif companions is None:
            targets.append(torch.zeros(len(part.images), setup.source.info.embedding_size))
        else:
            targets.append(_of_images(_embeddings(setup, companions.pictures, network), companions.of_image))
    weights = next(setup.source.parameters())
    return torch.cat(targets).to(weights.device, weights.dtype)


def reads_companions(recipe: Recipe, stages: tuple[Stage, ...]) -> bool:
    """Whether a run reads companions' embeddings: in a term, or in a head that starts from them."""
    return recipe.head.start == "companions" or any(Need.COMPANIONS in stage.needs for stage in stages)


def shows_companions(recipe: Recipe) -> bool:
    """Whether the frozen source sees companions instead of training images."""
    return recipe.companions is not None and recipe.companions.shown_to_source


def check_shown_companions(recipe: Recipe) -> None:
    """Check that the source can see companions instead of training images.

    Raises:
        InputError: If an image may have several, or the two would not lie on each other.
    """
    chosen = recipe.companions
    if chosen is None or not chosen.shown_to_source:
        return
    if chosen.match == "identity":
        raise InputError(
            'expected one companion per image for companions.shown_to_source, got companions.match = "identity"; take '
            '"capture"'
        )
    presets = [recipe.data.augmentation, *([recipe.pool.augmentation] if recipe.pool is not None else [])]
    for preset in presets:
        if moves_pixels(preset):
            raise InputError(
                "expected augmentation that at most mirrors images for companions.shown_to_source, got "
                f"{preset}, which also moves them; take nir or flip"
            )


def describe_companions(task: Task, recipe: Recipe, stages: tuple[Stage, ...]) -> list[str]:
    """How many training images have no companion, where that matters."""
    if task.companions is None or not task.companions.missing:
        return []
    lines, without = [], f"{task.companions.missing:,} of {len(task.companions.of_image):,} training images"
    if reads_companions(recipe, stages):
        lines.append(f"{without} have no companion; what reads companions leaves them out")
    if shows_companions(recipe):
        lines.append(f"{without} have no companion; the source sees these images themselves")
    return lines


class ShownCompanions:
    """The companions' pictures, as the reference network sees them instead of the training images.

    Args:
        setup: The run.

    Raises:
        InputError: If the pictures do not fit into memory.
    """

    def __init__(self, setup: Setup) -> None:
        companions, device = setup.task.companions, setup.fabric.device
        pixels: list[Tensor] = []
        starts: dict[int, int] = {}
        rows: list[int] = []
        for part in setup.task.mixture.parts:
            own = companions if part.pictures is None else own_companions(part.pictures)
            if own is None:
                rows += [-1] * len(part.images)
                continue
            # Parts that show the same pictures share them.
            if id(own.pictures) not in starts:
                starts[id(own.pictures)] = sum(map(len, pixels))
                crops = cast(CropDataset, own.pictures.images)
                pixels.append(crops.pixels("companions.shown_to_source", "leave it out"))
            first = starts[id(own.pictures)]
            rows += [first + places[0] if places else -1 for places in own.of_image]
        self._pictures = torch.cat(pixels).to(device)
        self._rows = torch.tensor(rows, device=device)

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


def _embeddings(setup: Setup, pictures: Pictures, network: str) -> Tensor:
    """Embed the pictures, or read their embeddings from the file that an earlier run wrote."""
    fingerprint = hashlib.sha256(f"{network} {pictures.fingerprint}".encode()).hexdigest()
    file = (setup.recipe.data.cache or setup.run.path) / f"companions-{fingerprint[:16]}.safetensors"
    # One rank looks, so that all of them go the same way.
    if setup.fabric.broadcast(file.is_file()):
        known: Tensor = load_state(file)["embeddings"]
        return known
    embeddings = _both_ways(setup.source, pictures.images)
    if setup.fabric.is_global_zero:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_state(file, {"embeddings": embeddings})
    setup.fabric.barrier()
    return embeddings


def _of_images(pictures: Tensor, of_image: tuple[tuple[int, ...], ...]) -> Tensor:
    sums = torch.zeros(len(of_image), pictures.shape[1])
    rows = torch.tensor([row for row, places in enumerate(of_image) for _ in places], dtype=torch.int64)
    places = torch.tensor([place for places in of_image for place in places], dtype=torch.int64)
    return F.normalize(sums.index_add_(0, rows, pictures[places]))


def _both_ways(source: nn.Module, images: TrainingSet) -> Tensor:
    straight = F.normalize(embed_dataset(source, images))
    return F.normalize(straight + F.normalize(embed_dataset(source, cast(TrainingSet, _Mirrored(images)))))


class _Mirrored(Dataset[tuple[Tensor, int]]):
    """Images seen in a mirror."""

    def __init__(self, images: TrainingSet) -> None:
        self._images = images
        self.labels = images.labels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self._images[index]
        return image.flip(2), label
