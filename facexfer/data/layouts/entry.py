"""What every layout gives: one entry per photo, or one problem for what is no photo."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from facexfer.errors import InputError
from facexfer.files.names import clean_name, shown_name
from facexfer.registry import Registry, blaming, is_foreign


@dataclass(frozen=True)
class PhotoEntry:
    """A photo that a layout lists.

    Attributes:
        name: Its name within the set, with slashes; the crop is named after it. Unique.
        source: The file that holds it.
        identity: Who it is.
        modality: E.g. ``vis`` or ``nir``.
        split: E.g. ``train``; empty if the layout has none.
        span: (offset, length) of its bytes within the file, None for the whole file.
        landmarks: (5, 2) points or (2, 2) eye centres in pixels if the layout has them, else None.
        capture: Equal for photos of one shot, if the layout tells.
        session: When it was taken, if the layout tells.
        camera: By what, if the layout tells.
        data: The photo's bytes, if they are not in a file of their own.
        pair: (number, whether of one person) if the set is one of pairs.
        problem: (reason, detail) if it cannot be used already; the bytes are not read then.
        usual_bits: What pictures of its camera use, if they have more than 8; found by `prepare`, no layout gives it.
        extra: Other columns that the layout has for it; they come into the manifest of the crops.
    """

    name: str
    source: Path
    identity: str
    modality: str
    split: str = ""
    span: tuple[int, int] | None = None
    landmarks: tuple[tuple[float, float], ...] | None = None
    capture: str | None = None
    session: str | None = None
    camera: str | None = None
    data: bytes | None = None
    pair: tuple[int, bool] | None = None
    problem: tuple[str, str] | None = None
    usual_bits: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> bytes:
        """Read the photo's bytes."""
        if self.data is not None:
            return self.data
        with self.source.open("rb") as file:
            if self.span is None:
                return file.read()
            file.seek(self.span[0])
            return file.read(self.span[1])

    def points(self) -> np.ndarray | None:
        """The landmarks as an array."""
        return None if self.landmarks is None else np.array(self.landmarks, dtype=np.float64)


@dataclass(frozen=True)
class LayoutOptions:
    """What a user may say about a layout.

    Attributes:
        modality: Of photos whose layout does not state it.
        identity_regex: Takes the identity from a photo's path within the folder: its group ``identity``, or the first.
        fold: Which lists of a set that has several: ``1`` and so on, or ``dev``.
    """

    modality: str = "nir"
    identity_regex: str | None = None
    fold: str = "1"


class ListPhotos(Protocol):
    """Lists the photos of a set in its published form."""

    def __call__(self, root: Path, options: LayoutOptions) -> Iterable[PhotoEntry]:
        """List the photos, in a fixed order.

        Raises:
            InputError: If this is not the layout's form.
        """
        ...


@dataclass(frozen=True)
class Layout:
    """A published form of a set.

    Attributes:
        list_photos: Lists the photos of a set.
        reads: The fields of `LayoutOptions` that it reads; one that it does not read must not be given.
        note: What a person must know who relies on it.
        name: As after ``--layout``.
    """

    list_photos: ListPhotos
    reads: tuple[str, ...] = ()
    note: str = ""
    name: str = ""

    def __call__(self, root: Path, options: LayoutOptions) -> Iterator[PhotoEntry]:
        """List the photos of a set, with names in their one form; one that has no such name has a problem.

        Raises:
            InputError: If this is not the layout's form, or a layout of a plugin fails or gives what is no photo.
        """
        foreign = is_foreign(self.list_photos)
        with blaming(self.list_photos, f"layout '{self.name}'"):
            for entry in self.list_photos(root, options):
                yield _with_clean_names(_checked(entry) if foreign else entry)


LAYOUTS: Registry[Layout] = Registry("layout", "layouts")
"""Layout name -> what lists the photos of a set."""

L = TypeVar("L", bound=ListPhotos)


_KINDS: dict[str, Any] = {
    "name": str, "identity": str, "modality": str, "split": str, "capture": str | None, "session": str | None,
    "camera": str | None, "source": Path, "data": bytes | None, "extra": Mapping, "span": tuple | None,
    "problem": tuple | None,
}  # fmt: skip


def _checked(entry: object) -> PhotoEntry:
    """Check what a plugin's layout gives, and write its landmarks as numbers."""
    if not isinstance(entry, PhotoEntry):
        raise TypeError(f"expected a PhotoEntry, got {entry!r:.60}")
    for key, kind in _KINDS.items():
        value = getattr(entry, key)
        if not isinstance(value, kind):
            wanted = getattr(kind, "__name__", str(kind))
            raise TypeError(f"expected {key} of a photo as {wanted}, got {value!r:.60}")
    if entry.landmarks is None:
        return entry
    points = np.array(entry.landmarks, dtype=np.float64)
    if points.shape not in ((5, 2), (2, 2)):
        raise ValueError(f"expected landmarks of shape (5, 2) or (2, 2), got {points.shape} for {entry.name}")
    return replace(entry, landmarks=tuple((float(x), float(y)) for x, y in points))


def _with_clean_names(entry: PhotoEntry) -> PhotoEntry:
    def clean(text: str | None) -> str | None:
        return None if text is None else clean_name(text)

    try:
        identity = clean_name(entry.identity)
        cleaned = replace(
            entry, identity=identity, modality=clean_name(entry.modality), split=clean_name(entry.split),
            capture=clean(entry.capture), session=clean(entry.session), camera=clean(entry.camera),
        )  # fmt: skip
    except InputError as error:
        return replace(entry, identity=shown_name(entry.identity), problem=("bad-name", str(error)))
    if entry.identity and not identity:
        nothing = ("no-identity", "the name of the identity has nothing that can be seen")
        return replace(cleaned, problem=entry.problem or nothing)
    return cleaned


def register_layout(name: str, reads: tuple[str, ...] = (), note: str = "") -> Callable[[L], L]:
    """Return a decorator that makes a layout known by a name.

    Args:
        name: As after ``--layout``.
        reads: The fields of `LayoutOptions` that it reads.
        note: What a person must know who relies on it.

    Raises:
        ValueError: If another layout has the name.
    """

    def add(list_photos: L) -> L:
        LAYOUTS.add(name, Layout(list_photos, reads, note, name))
        return list_photos

    return add


def layout_options(name: str, given: Mapping[str, str | None]) -> LayoutOptions:
    """Take the options that a user gives for a layout.

    Args:
        name: One of `LAYOUTS`.
        given: Field of `LayoutOptions` -> value, None for one that is left to the layout.

    Returns:
        The options, with defaults where nothing is given.

    Raises:
        InputError: If the layout is unknown, or does not read what is given.
    """
    chosen = {key: value for key, value in given.items() if value is not None}
    for key in chosen:
        if key not in LAYOUTS[name].reads:
            readers = " and ".join(other for other, layout in LAYOUTS.items() if key in layout.reads)
            option = f"--{key.replace('_', '-')}"
            raise InputError(
                f"expected options that the layout {name} reads, got {option}, which {readers or 'no layout'} would "
                f"read; leave {option} out"
            )
    if "modality" in chosen:
        chosen["modality"] = clean_name(chosen["modality"])
    return LayoutOptions(**chosen)
