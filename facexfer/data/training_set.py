"""What the training loop asks of a data set."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class TrainingSet(Protocol):
    """Images and labels for training; `set_epoch` makes the augmentation of an epoch reproducible."""

    def __len__(self) -> int:
        """The number of images."""
        ...

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image (3, H, W) uint8 RGB and its label."""
        ...

    @property
    def labels(self) -> Sequence[int]:
        """The labels of all images, known without reading one."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Draw new augmentation."""
        ...


class AugmentedSet(TrainingSet, Protocol):
    """A training set that knows how it has turned an image."""

    def draw(self, index: int, turn: int = 0) -> tuple[Tensor, int, bool]:
        """As `__getitem__`, and whether the image is mirrored; drawn again in one epoch, it has another turn."""
        ...
