"""Caltech-UCSD Birds 200-2011: images.txt, image_class_labels.txt, train_test_split.txt, classes.txt, images/."""

from pathlib import Path

from facexfer.data.image_set import ImageSet, LabelledImage, PublishedSize, existing, read_lines
from facexfer.errors import InputError

PUBLISHED = PublishedSize(classes=200, train=5_994, test=5_794)


def cub200(root: Path, seed: int) -> ImageSet:
    """Read CUB-200-2011, or a part of it in the same layout; ids without an image are left out and noted.

    Args:
        root: The folder with the text files.
        seed: Ignored: the split is official.

    Raises:
        InputError: If a list is missing or a line of it is not an id and a value.
    """
    paths = _table(root / "images.txt")
    labels = _table(root / "image_class_labels.txt")
    in_training = _table(root / "train_test_split.txt")
    names = _table(root / "classes.txt")
    classes = sorted(names, key=int)
    position = {key: index for index, key in enumerate(classes)}
    known = [key for key in paths if labels.get(key) in position and key in in_training]
    found = {}
    notes: tuple[str, ...] = ()
    for part, flag in (("training", "1"), ("test", "0")):
        listed = [
            LabelledImage(root / "images" / paths[key], position[labels[key]])
            for key in known
            if in_training[key] == flag
        ]
        found[part], more = existing(listed, f"cub200 {part}")
        notes += more
    return ImageSet(
        "cub200", tuple(names[key] for key in classes), found["training"], found["test"], notes
    ).compared_with(PUBLISHED)


def _table(path: Path) -> dict[str, str]:
    rows = {}
    for number, line in enumerate(read_lines(path), start=1):
        key, _, value = line.partition(" ")
        if not key.isdigit() or not value:
            raise InputError(f"{path}, line {number}: expected an id and a value, got '{line}'; fix the line")
        rows[key] = value
    return rows
