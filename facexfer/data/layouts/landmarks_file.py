"""Landmarks that somebody has already: a CSV of five points, or two eye centres, a photo."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.manifest import LANDMARKS, Landmarks, coordinates
from facexfer.errors import InputError, first_of
from facexfer.files.rows import read_rows

_EYES = LANDMARKS[:4]


def with_landmarks(entries: Iterable[PhotoEntry], path: Path) -> Iterator[PhotoEntry]:
    """Add the landmarks in a file to photos.

    Args:
        entries: Of a layout.
        path: A CSV with the columns ``path`` (as the layout names the photo) and ``x1,y1 ... x5,y5``, or only
            ``x1,y1,x2,y2`` for the two eye centres, image-left first, in pixels of the photo.

    Yields:
        The entries; a photo that the file does not name keeps what it had.

    Raises:
        InputError: If the file is damaged or has no row, has some of the columns of five points, or names a photo that
            is not in the layout.
    """
    entries = list(entries)
    landmarks = _read(path, {entry.name for entry in entries})
    for entry in entries:
        given = landmarks.pop(entry.name, None)
        yield entry if given is None else replace(entry, landmarks=given)
    if landmarks:
        raise InputError(
            f"{path}: expected photos of the folder, {len(landmarks)} are not there, such as "
            f"'{min(landmarks)}'; write paths relative to it, with slashes"
        )


def _read(path: Path, names: Collection[str]) -> dict[str, Landmarks]:
    found: dict[str, Landmarks] = {}
    called = "path and x1,y1 ... x5,y5 (or x1,y1,x2,y2)"
    for line, row, surplus in read_rows(path, ("path", *_EYES), called=called):
        columns = _columns(row, path)
        name = row["path"] if row["path"] in names else row["path"].strip()
        if name in found or surplus > 0:
            came = "another line for it" if name in found else "more fields than columns"
            raise InputError(
                f"{path}, line {line}: expected one line of landmarks for '{name}', got {came}; fix the file"
            )
        found[name] = _points(row, columns, f"{path}, line {line}")
    if not found:
        raise InputError(f"{path}: expected a line of landmarks per photo, got no line below the heading; add them")
    return found


def _columns(row: dict[str, str], path: Path) -> tuple[str, ...]:
    """Which of the two forms a file has; faces are aligned otherwise by five points than by the eyes alone."""
    some = coordinates(row)
    if sorted(some) == sorted(LANDMARKS):
        return LANDMARKS
    if len(some) > len(_EYES):
        raise InputError(
            f"{path}, line 1: expected all of {', '.join(LANDMARKS)}, or {', '.join(_EYES)} alone for the eyes, got "
            f"{first_of(some, len(LANDMARKS))}; choose five points, in small letters, or the eyes"
        )
    return _EYES


def _points(row: dict[str, str], columns: tuple[str, ...], place: str) -> Landmarks:
    try:
        values = [float(row[column]) for column in columns]
    except ValueError as error:
        raise InputError(f"{place}: expected {len(columns)} numbers in pixels, got: {error}; fix the line") from error
    # NaN stays: the geometry guard names it.
    return tuple((float(x), float(y)) for x, y in np.reshape(values, (-1, 2)))
