"""Stanford Dogs 120: train_list.mat, test_list.mat and Images/BREED/."""

from pathlib import Path

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from facexfer.data.image_set import ImageSet, LabelledImage, PublishedSize, existing
from facexfer.errors import InputError

PUBLISHED = PublishedSize(classes=120, train=12_000, test=8_580)


def stanford_dogs(root: Path, seed: int) -> ImageSet:
    """Read Stanford Dogs.

    Args:
        root: The folder with the two lists (in it or in ``lists``) and ``Images``.
        seed: Ignored: the split is official.

    Raises:
        InputError: If a list is missing, damaged, or has no ``file_list`` and ``labels``.
    """
    lists = {part: _read_list(root, f"{part}_list.mat") for part in ("train", "test")}
    names: dict[int, str] = {}
    for rows in lists.values():
        names |= {label: file.split("/")[0] for file, label in rows}
    labels = sorted(names)
    position = {label: index for index, label in enumerate(labels)}
    found = {}
    notes: tuple[str, ...] = ()
    for part, rows in lists.items():
        listed = [LabelledImage(root / "Images" / file, position[label]) for file, label in rows]
        found[part], more = existing(listed, f"stanford_dogs {part}_list.mat")
        notes += more
    classes = tuple(names[label] for label in labels)
    return ImageSet("stanford_dogs", classes, found["train"], found["test"], notes).compared_with(PUBLISHED)


def _read_list(root: Path, name: str) -> list[tuple[str, int]]:
    path = next((each for each in (root / name, root / "lists" / name) if each.is_file()), root / name)
    try:
        content = loadmat(path)
        files = [str(row[0][0]) for row in content["file_list"]]
        labels = [int(row[0]) for row in content["labels"]]
    except (OSError, KeyError, ValueError, IndexError, TypeError, MatReadError) as error:
        raise InputError(f"{path}: expected file_list and labels, got: {error}; unpack lists.tar next to it") from error
    return list(zip(files, labels, strict=True))
