"""Any set with one folder per class: train/CLASS/ and val/CLASS/ or test/CLASS/."""

from pathlib import Path

from facexfer.data.image_set import ImageSet, LabelledImage
from facexfer.data.layouts.walk import PICTURES
from facexfer.errors import InputError


def folders(root: Path, seed: int) -> ImageSet:
    """Read a folder per class.

    Args:
        root: The folder of ``train`` and ``val`` (or ``test``); the classes are the folders of ``train``.
        seed: Ignored: the folders are the split.

    Raises:
        InputError: If a folder is missing, a class has no training image, or the test part has another class.
    """
    test_root = next((root / name for name in ("val", "test") if (root / name).is_dir()), root / "val")
    for part in (root / "train", test_root):
        if not part.is_dir():
            raise InputError(f"{part}: expected a folder of class folders, found none; check data.root")
    classes = class_names(root / "train")
    unknown = sorted(set(class_names(test_root)) - set(classes))
    if unknown:
        raise InputError(f"{test_root}: expected the classes of {root / 'train'}, got also {', '.join(unknown[:5])}")
    train, test = (
        tuple(LabelledImage(path, label) for label, name in enumerate(classes) for path in pictures_of(part / name))
        for part in (root / "train", test_root)
    )
    empty = [name for label, name in enumerate(classes) if all(image.label != label for image in train)]
    if empty or not train:
        raise InputError(f"{root / 'train'}: expected pictures of every class, none of {', '.join(empty) or 'any'}")
    return ImageSet("folders", classes, train, test)


def class_names(folder: Path) -> tuple[str, ...]:
    """List the class folders of a folder, sorted by name; hidden ones are none."""
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))


def pictures_of(folder: Path) -> list[Path]:
    """List the images of a folder, sorted by name; an absent folder has none."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith(".")
    )
