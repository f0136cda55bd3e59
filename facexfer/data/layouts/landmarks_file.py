"""Landmarks that somebody has already: a CSV of five points, or two eye centres, a photo."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.manifest import LANDMARKS, Landmarks
from facexfer.errors import InputError

_EYES = LANDMARKS[:4]


def with_landmarks(entries: Iterable[PhotoEntry], path: Path) -> Iterator[PhotoEntry]:
    """Give photos the landmarks of a file.

    Args:
        entries: Of a layout.
        path: A CSV with the columns ``path`` (as the layout names the photo) and ``x1,y1 ... x5,y5``, or only
            ``x1,y1,x2,y2`` for the two eye centres, image-left first, in pixels of the photo.

    Yields:
        The entries; a photo that the file does not name keeps what it had.

    Raises:
        InputError: If the file is damaged, or names a photo that is not in the layout.
    """
    landmarks = _read(path)
    for entry in entries:
        given = landmarks.pop(entry.name, None)
        yield entry if given is None else replace(entry, landmarks=given)
    if landmarks:
        raise InputError(
            f"{path}: expected photos of the folder, {len(landmarks)} are not there, such as "
            f"'{min(landmarks)}'; write paths relative to it, with slashes"
        )


def _read(path: Path) -> dict[str, Landmarks]:
    found = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = LANDMARKS if set(LANDMARKS) <= set(reader.fieldnames or ()) else _EYES
            missing = {"path", *columns} - set(reader.fieldnames or ())
            if missing:
                raise InputError(
                    f"{path}, line 1: expected the columns path and x1,y1 ... x5,y5 (or x1,y1,x2,y2), missing: "
                    f"{', '.join(sorted(missing))}"
                )
            for row in reader:
                if row["path"] in found or None in row:
                    came = "another line for it" if row["path"] in found else "more fields than columns"
                    raise InputError(
                        f"{path}, line {reader.line_num}: expected one line of landmarks for '{row['path']}', got "
                        f"{came}; mend the file"
                    )
                found[row["path"]] = _points(row, columns, f"{path}, line {reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a readable CSV, got: {error}; check the path") from error
    return found


def _points(row: dict[str, str], columns: tuple[str, ...], place: str) -> Landmarks:
    try:
        values = [float(row[column] or "") for column in columns]
    except (TypeError, ValueError) as error:
        raise InputError(f"{place}: expected {len(columns)} numbers in pixels, got: {error}; mend the line") from error
    # NaN stays: the geometry guard names it.
    return tuple((float(x), float(y)) for x, y in np.reshape(values, (-1, 2)))
