"""Labelled images of a classification data set, and what each of them should hold by its publication."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facexfer.errors import InputError
from facexfer.files.names import clean_name

_SHOWN = 5


@dataclass(frozen=True)
class LabelledImage:
    """An image and the index of its class."""

    path: Path
    label: int


@dataclass(frozen=True)
class PublishedSize:
    """What a data set holds by the paper's table (Xie et al. 2021, section 5.1)."""

    classes: int
    train: int
    test: int


@dataclass(frozen=True)
class ImageSet:
    """A data set in its official split.

    Attributes:
        name: Of the layout.
        classes: The class names; their positions are the labels.
        train: Training images.
        test: Test images.
        notes: What a user should know: missing images, a size other than the published one.
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[LabelledImage, ...]
    test: tuple[LabelledImage, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known: dict[str, str] = {}
        for name in self.classes:
            other = known.setdefault(clean_name(name), name)
            if other != name:
                raise InputError(f"expected a name per class, {other!a} and {name!a} read the same; merge them")

    def compared_with(self, published: PublishedSize) -> "ImageSet":
        """Add a note where the set's size differs from the published one."""
        ours = (len(self.classes), len(self.train), len(self.test))
        theirs = (published.classes, published.train, published.test)
        if ours == theirs:
            return self
        sizes = " / ".join(f"{count:,}" for count in ours), " / ".join(f"{count:,}" for count in theirs)
        note = f"{self.name}: {sizes[0]} classes / training / test pictures, the paper has {sizes[1]}"
        return replace(self, notes=(*self.notes, note))

    def limited(self, per_class: int, seed: int) -> "ImageSet":
        """Keep this many training images of every class, drawn by ``seed``.

        Raises:
            InputError: If a class has fewer.
        """
        few = [name for label, name in enumerate(self.classes) if self._count(label) < per_class]
        if few:
            raise InputError(
                f"expected {per_class} training pictures per class, {len(few)} classes have fewer: "
                f"{', '.join(few[:_SHOWN])}; lower data.images_per_class"
            )
        return replace(self, train=_draw(self.train, seed, lambda count: per_class)[0])

    def for_search(self, share: float, seed: int) -> "ImageSet":
        """Hold out a part of every class's training images and test on it; the test images are ignored."""
        kept, held_out = _draw(self.train, seed, lambda count: max(1, count - round(share * count)))
        return replace(self, train=kept, test=held_out)

    def _count(self, label: int) -> int:
        return Counter(image.label for image in self.train)[label]


def existing(images: Sequence[LabelledImage], note: str) -> tuple[tuple[LabelledImage, ...], tuple[str, ...]]:
    """Leave out images that are not there.

    Args:
        images: As the lists name them.
        note: What to call the list.

    Returns:
        The images that are there, and a note if some are not.
    """
    found = tuple(image for image in images if image.path.is_file())
    missing = len(images) - len(found)
    return found, ((f"{note}: {missing} of {len(images)} listed pictures are not there",) if missing else ())


def read_lines(path: Path) -> list[str]:
    """Read a list of a data set, without empty lines.

    Raises:
        InputError: If the file is missing or no text.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected the data set's list, got: {error}; unpack the set in its layout") from error


def _draw(
    images: Sequence[LabelledImage], seed: int, count_of: Callable[[int], int]
) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...]]:
    """Share the images, class by class, into drawn ones and the rest."""
    generator = np.random.default_rng(seed)
    kept: set[int] = set()
    by_label: dict[int, list[int]] = {}
    for index in sorted(range(len(images)), key=lambda index: str(images[index].path)):
        by_label.setdefault(images[index].label, []).append(index)
    for label in sorted(by_label):
        rows = by_label[label]
        order = generator.permutation(len(rows))
        kept |= {rows[index] for index in order[: count_of(len(rows))]}
    chosen = tuple(image for index, image in enumerate(images) if index in kept)
    return chosen, tuple(image for index, image in enumerate(images) if index not in kept)
