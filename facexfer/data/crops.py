"""Aligned crops as a torch data set: decoded once, augmented reproducibly."""

from collections.abc import Sequence

import albumentations as A
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from facexfer.data.images import read_crop
from facexfer.data.manifest import FaceImage

_CACHE_BYTES = 4 * 2**30


class CropDataset(Dataset[tuple[Tensor, int]]):
    """Crops and labels.

    The crops are kept in memory as bytes once they have been read, as far as 4 GiB go (about 110,000 crops of
    112x112); the rest is read each time. The augmentation of an image depends on the seed, the epoch and its index
    only: the order of reading and the number of workers change nothing.

    Args:
        images: The rows.
        labels: One a row.
        size: (height, width) of every crop in pixels.
        transform: The augmentation.
        seed: Of the augmentation.
    """

    def __init__(
        self,
        images: Sequence[FaceImage],
        labels: Sequence[int],
        size: tuple[int, int],
        transform: A.Compose,
        seed: int = 0,
    ) -> None:
        self._images = tuple(images)
        self._labels = tuple(int(label) for label in labels)
        self._size = size
        self._transform = transform
        self._seed = seed
        self._epoch = 0
        self._kept = min(len(self._images), _CACHE_BYTES // (3 * size[0] * size[1]))
        self._crops: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Give the crop (3, H, W) uint8 RGB and its label."""
        # Mixed so that neighbouring epochs and indices share nothing.
        mixed = np.random.SeedSequence((self._seed, self._epoch, index)).generate_state(1)[0]
        self._transform.set_random_seed(int(mixed))
        image = self._transform(image=self._crop(index))["image"]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), self._labels[index]

    def set_epoch(self, epoch: int) -> None:
        """Draw the augmentation anew, and have the crops in memory before workers are started."""
        self._epoch = epoch
        self._cached()

    def _crop(self, index: int) -> np.ndarray:
        if index < self._kept:
            crop: np.ndarray = self._cached()[index]
            return crop
        return read_crop(self._images[index].path, self._size)

    def _cached(self) -> np.ndarray:
        if self._crops is None:
            crops = np.empty((self._kept, *self._size, 3), dtype=np.uint8)
            for index in range(self._kept):
                crops[index] = read_crop(self._images[index].path, self._size)
            self._crops = crops
        return self._crops
