"""Images of any size as a torch data set: resized once, cropped and flipped reproducibly."""

from collections.abc import Sequence
from pathlib import Path

import albumentations as A
import cv2
import numpy as np

from facexfer.data.crop_store import CropStore
from facexfer.data.crops import CropDataset
from facexfer.data.image_set import LabelledImage
from facexfer.data.images import read_rgb
from facexfer.data.pictures.depths import Depths
from facexfer.errors import InputError
from facexfer.registry import unknown_name_message

# Published: 256 for networks of 224, 320 for Inception-V3's 299.
_PUBLISHED_RESIZE = {224: 256, 299: 320}
AUGMENTATIONS = ("none", "flip")


def resized_side(side: int) -> int:
    """The side that images are resized to before a crop of ``side`` pixels.

    Example:
        >>> resized_side(224), resized_side(299), resized_side(112)
        (256, 320, 128)
    """
    return _PUBLISHED_RESIZE.get(side, round(side * 8 / 7))


def image_transform(augmentation: str, size: tuple[int, int], seed: int) -> A.Compose:
    """Make the paper's pre-processing of resized images.

    Args:
        augmentation: ``flip``, a random crop and flip; ``none``, the centre crop.
        size: (height, width) of the crop in pixels.
        seed: Of the augmentation.

    Raises:
        InputError: If the augmentation is unknown.
    """
    if augmentation not in AUGMENTATIONS:
        raise InputError(unknown_name_message("augmentation", augmentation, AUGMENTATIONS))
    steps = [A.HorizontalFlip(p=0.5), A.RandomCrop(*size)] if augmentation == "flip" else [A.CenterCrop(*size)]
    return A.Compose(steps, seed=seed, save_applied_params=True)


class ImageDataset(CropDataset):
    """Images and labels, resized without regard to their proportions (published: 256x256).

    Args:
        images: The images.
        size: (height, width) of what the network takes, in pixels.
        augmentation: One of `AUGMENTATIONS`.
        seed: Of the augmentation.
        store: The decoded images, to share them; None makes one.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        size: tuple[int, int],
        augmentation: str,
        seed: int = 0,
        store: CropStore | None = None,
    ) -> None:
        resized = (resized_side(size[0]), resized_side(size[1]))
        labels = [image.label for image in images]
        store = image_store(images, size) if store is None else store
        super().__init__((), labels, resized, image_transform(augmentation, size, seed), seed, store)


def image_store(images: Sequence[LabelledImage], size: tuple[int, int], depths: Depths | None = None) -> CropStore:
    """Make a store of images resized for crops of ``size``, read by ``depths`` or by their own."""
    return CropStore(images, (resized_side(size[0]), resized_side(size[1])), read=_read_resized, depths=depths)


def _read_resized(path: Path, size: tuple[int, int], usual_bits: int | None) -> np.ndarray:
    image = read_rgb(path, usual_bits)
    shrinks = image.shape[0] > size[0] or image.shape[1] > size[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
