"""The training batches of a run: the same for the same step, however the run came there."""

from collections.abc import Generator
from contextlib import closing
from typing import TypeAlias, TypeVar, cast

import torch
from torch import Tensor

from facexfer.data.loading import load_batches
from facexfer.data.mixture import Mixture, number_turns
from facexfer.engine.schedule import balanced_batches, epoch_batches
from facexfer.errors import InputError
from facexfer.recipe import Recipe

ImageBatch: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]
_Image = TypeVar("_Image")


class TrainingBatches:
    """This rank's part of the batch of every step, in the parts that gradients are accumulated over.

    Args:
        recipe: Batch size, parts, identities a batch, seed and workers.
        images: What is drawn from; an epoch is as many steps as its first part, the training images, fills batches.
        rank: This process's number.
        ranks: How many share a batch.

    Attributes:
        device: Where the images of a batch and their places in the mixture are.

    Raises:
        InputError: If the batch cannot be shared by the ranks, the parts and the identities.
    """

    device = torch.device("cpu")

    def __init__(self, recipe: Recipe, images: Mixture, rank: int, ranks: int) -> None:
        settings = recipe.optimizer
        shares = ranks * settings.accumulate
        if settings.batch_size % shares:
            raise InputError(
                f"expected a batch size that {ranks} ranks can share in {settings.accumulate} parts each, got "
                f"{settings.batch_size}; make optimizer.batch_size a multiple of {shares}"
            )
        identities = recipe.data.identities_per_batch
        if identities is not None and settings.batch_size % identities:
            raise InputError(
                f"expected a batch size that {identities} identities can share, got {settings.batch_size}; make "
                "optimizer.batch_size a multiple of data.identities_per_batch"
            )
        if identities is not None and len(images.parts) > 1:
            raise InputError(
                "expected batches of training images alone with data.identities_per_batch, got a pool or kept "
                "companions with them; leave one of the two out"
            )
        self.steps_per_epoch = len(images.parts[0].images) // settings.batch_size
        self.images_a_pass = settings.batch_size // shares
        self._images = images
        self._identities = identities
        self._batch_size = settings.batch_size
        self._parts = settings.accumulate
        self._seed = recipe.seed
        self._workers = recipe.runtime.workers
        self._rank, self._ranks = rank, ranks

    def between(self, first: int, end: int) -> Generator[list[ImageBatch], None, None]:
        """Yield the batches of the run's steps ``first`` to ``end``; close the iterator to end its workers.

        Yields:
            A step's parts: images (N, 3, H, W) uint8 RGB in page-locked memory where there is a GPU, labels (N,) int64,
            -1 for an image without one, places in the mixture (N,) int64, and (N,) bool which images are mirrored.
        """
        step = first
        while step < end:
            epoch, start = divmod(step, self.steps_per_epoch)
            count = min(self.steps_per_epoch - start, end - step)
            self._images.set_epoch(epoch)
            batches = number_turns(self.epoch(epoch))[start : start + count]
            passes = [part for batch in batches for part in self.split(batch)]
            loader = load_batches(self._images, passes, self._workers, self._seed * 1_000_003 + epoch)
            with closing(loader) as loaded:
                for _ in range(count):
                    yield [cast(ImageBatch, next(loaded)) for _ in range(self._parts)]
                # Asking past the end lets the workers end before the next epoch's start.
                next(loaded, None)
            step += count

    def epoch(self, epoch: int) -> list[list[int]]:
        """The places in the mixture of every batch of an epoch, over all ranks."""
        if len(self._images.parts) > 1:
            first = epoch * self.steps_per_epoch
            return self._images.batches(self._batch_size, first, first + self.steps_per_epoch, self._seed)
        if self._identities is None:
            return epoch_batches(len(self._images), self._batch_size, self._seed, epoch)
        return balanced_batches(self._images.labels, self._identities, self._batch_size, self._seed, epoch)

    def split(self, batch: list[_Image]) -> list[list[_Image]]:
        """This rank's share of a batch, split into the parts that gradients are accumulated over."""
        mine = batch[self._rank :: self._ranks]
        return [mine[part :: self._parts] for part in range(self._parts)]
