"""What every layout gives: one entry a photo, or one problem for what is no photo."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


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
        """Give the landmarks as an array."""
        return None if self.landmarks is None else np.array(self.landmarks, dtype=np.float64)


@dataclass(frozen=True)
class LayoutOptions:
    """What a user may say about a layout.

    Attributes:
        modality: Of photos whose layout does not tell.
        identity_regex: Takes the identity from a photo's path within the folder: its group ``identity``, or the first.
        fold: Which lists of a set that has several: ``1`` and so on, or ``dev``.
    """

    modality: str = "nir"
    identity_regex: str | None = None
    fold: str = "1"


class Layout(Protocol):
    """Lists the photos of a set in its published form."""

    def __call__(self, root: Path, options: LayoutOptions) -> Iterable[PhotoEntry]:
        """List the photos, in a fixed order.

        Raises:
            InputError: If this is not the layout's form.
        """
        ...
