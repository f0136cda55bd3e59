"""Aligned crops as a torch data set: decoded once, augmented reproducibly."""

from collections.abc import Sequence

import albumentations as A
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from facexfer.data.crop_store import CropStore
from facexfer.data.manifest import FaceImage
from facexfer.errors import InputError


class CropDataset(Dataset[tuple[Tensor, int]]):
    """Crops and labels, the latter also in `labels`.

    The augmentation of an image depends on the seed, the epoch, its index and its turn only: the order of reading and
    the number of workers change nothing.

    Args:
        images: The rows.
        labels: One per row.
        size: (height, width) of every crop in pixels.
        transform: The augmentation.
        seed: Of the augmentation.
        store: The decoded crops of these images, to share them; None makes one in memory.
        preset: The augmentation's name, where whole batches may be augmented by it instead.

    Attributes:
        preset: The augmentation's name, or None.
        store: The decoded crops.
        labels: One per image.
        size: (height, width) of every crop in pixels.
    """

    def __init__(
        self,
        images: Sequence[FaceImage],
        labels: Sequence[int],
        size: tuple[int, int],
        transform: A.Compose,
        seed: int = 0,
        store: CropStore | None = None,
        preset: str | None = None,
    ) -> None:
        self.preset = preset
        self.store = CropStore(images, size) if store is None else store
        self.labels = tuple(int(label) for label in labels)
        self.size = size
        self._transform = transform
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """The crop (3, H, W) uint8 RGB and its label."""
        return self.draw(index)[:2]

    def draw(self, index: int, turn: int = 0) -> tuple[Tensor, int, bool]:
        """The crop (3, H, W) uint8 RGB, its label, and whether it is mirrored.

        Args:
            index: The crop.
            turn: How often it has been drawn before in this epoch.
        """
        # Mixed so that neighbouring epochs, indices and turns share nothing.
        mixed = np.random.SeedSequence((self._seed, self._epoch, index, turn)).generate_state(1)[0]
        self._transform.set_random_seed(int(mixed))
        drawn = self._transform(image=np.array(self.store[index]))
        flips = sum(name == "HorizontalFlip" for name, _ in drawn.get("applied_transforms", ()))
        image = np.ascontiguousarray(drawn["image"].transpose(2, 0, 1))
        return torch.from_numpy(image), self.labels[index], flips % 2 == 1

    def pixels(self, key: str, otherwise: str) -> Tensor:
        """All crops, decoded and without augmentation, (N, 3, H, W) uint8 RGB.

        Args:
            key: Of the recipe, which asks for them.
            otherwise: What to do instead, for the error.

        Raises:
            InputError: If they do not fit into memory, or one cannot be read.
        """
        loaded = torch.tensor(self.store.load())
        if len(loaded) < len(self):
            raise InputError(
                f"expected crops that fit into memory for {key}, got {len(self)}, of which {len(loaded)} do; name a "
                f"folder in data.cache or {otherwise}"
            )
        return loaded.permute(0, 3, 1, 2)

    def set_epoch(self, epoch: int) -> None:
        """Draw new augmentation, and have the crops ready before workers are started."""
        self._epoch = epoch
        self.store.load()
