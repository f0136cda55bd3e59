"""Caltech 256: one folder per class, ``257.clutter`` among them; the images are drawn."""

from pathlib import Path

import numpy as np

from facexfer.data.datasets.folders import class_names, pictures_of
from facexfer.data.image_set import ImageSet, LabelledImage, PublishedSize
from facexfer.errors import InputError

TEST_PER_CLASS = 20
LARGEST = 60
# With all 60 training images; `ImageSet.limited` gives the paper's 30, and 10 to 60 of Figure 4.
PUBLISHED = PublishedSize(classes=257, train=257 * LARGEST, test=257 * TEST_PER_CLASS)


def caltech256(root: Path, seed: int) -> ImageSet:
    """Draw 20 images of every class to test and 60 others to train; the clutter class is kept, as in the paper.

    The test images are the same for every number of training images.

    Args:
        root: The folder of the class folders (``256_ObjectCategories``, or the one that holds it).
        seed: Of the draw.

    Raises:
        InputError: If there are no class folders, or a class has too few images.
    """
    root = root / "256_ObjectCategories" if (root / "256_ObjectCategories").is_dir() else root
    classes = class_names(root) if root.is_dir() else ()
    if not classes:
        raise InputError(f"{root}: expected one folder per class, found none; unpack 256_ObjectCategories.tar")
    generator = np.random.default_rng(seed)
    train, test = [], []
    for label, name in enumerate(classes):
        pictures = pictures_of(root / name)
        if len(pictures) <= TEST_PER_CLASS:
            raise InputError(f"{root / name}: expected more than {TEST_PER_CLASS} pictures, got {len(pictures)}")
        drawn = [LabelledImage(pictures[index], label) for index in generator.permutation(len(pictures))]
        test += drawn[:TEST_PER_CLASS]
        train += drawn[TEST_PER_CLASS : TEST_PER_CLASS + LARGEST]
    return ImageSet("caltech256", classes, tuple(train), tuple(test)).compared_with(PUBLISHED)
