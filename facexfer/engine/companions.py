"""Where the frozen, untouched source puts every training image's companion: worked out once, before training."""

import hashlib
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from facexfer.data.companions import Pictures
from facexfer.data.training_set import TrainingSet
from facexfer.engine.setup import Setup
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
    """Whether a run has any use for companions: a term that reads them, or a head that starts from them."""
    return recipe.head.start == "companions" or any(Need.COMPANIONS in stage.needs for stage in stages)


def describe_companions(task: Task, recipe: Recipe, stages: tuple[Stage, ...]) -> list[str]:
    """How many training images have no companion, where that matters."""
    if task.companions is None or not reads_companions(recipe, stages):
        return []
    missing, images = task.companions.missing, len(task.companions.of_image)
    if not missing:
        return []
    return [f"{missing:,} of {images:,} training images have no companion; what reads companions leaves them out"]


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
