"""Batches of the source's own images, in addition to those of the target."""

import torch
from torch import Tensor

from facexfer.data.training_set import TrainingSet
from facexfer.engine.schedule import epoch_batches
from facexfer.errors import InputError

# Far from any seed that the target's batches use, so that the two orders share nothing.
_APART = 500_009


class SourceBatches:
    """A batch of source images for every step, the same for the same step however the run came there.

    Args:
        images: The source images, or None where no method of the run reads them.
        batch_size: Images per batch over all ranks; a set smaller than that gives all of it.
        seed: The run's seed.
        rank: This process's number.
        ranks: How many share a batch.
    """

    def __init__(self, images: TrainingSet | None, batch_size: int, seed: int, rank: int, ranks: int) -> None:
        self._images = images
        self._batch_size = batch_size if images is None else min(batch_size, len(images))
        self._seed = seed + _APART
        self._rank = rank
        self._ranks = ranks
        self._epoch = -1
        self._batches: list[list[int]] = []

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """This rank's part of a step's batch.

        Args:
            step: The run's step.

        Returns:
            Images (N, 3, H, W) uint8 RGB and labels (N,) int64.

        Raises:
            InputError: If there are no source images.
        """
        if self._images is None:
            raise InputError("expected source images, got none; name them in [source_data]")
        epoch, index = divmod(step, len(self._images) // self._batch_size)
        if epoch != self._epoch:
            self._images.set_epoch(epoch)
            self._batches = epoch_batches(len(self._images), self._batch_size, self._seed, epoch)
            self._epoch = epoch
        batch = self._batches[index]
        # So few images are seen by every rank: BatchNorm needs two at a time.
        own = batch[self._rank :: self._ranks] if len(batch) >= 2 * self._ranks else batch
        rows = [self._images[row] for row in own]
        return torch.stack([image for image, _ in rows]), torch.tensor([label for _, label in rows])
