"""The manifest: one row per image, the form in which all data comes in."""

import csv
import hashlib
import io
import json
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.data.references import as_listed, as_meant, references
from facexfer.errors import DataWarning, InputError, first_of
from facexfer.files.atomic import write_text
from facexfer.files.digest import picture_digests
from facexfer.files.names import clean_name, likeness
from facexfer.files.rows import Row, check_columns, read_rows, wrong_width

REQUIRED = ("path", "identity", "modality", "split")
LANDMARKS = tuple(f"{axis}{number}" for number in range(1, 6) for axis in "xy")
OPTIONAL = ("capture", "session", "camera")
NAMES = ("identity", "modality", "split", *OPTIONAL)
"""The columns whose values are names (`facexfer.files.names`): they are compared."""

_PARQUET = ".parquet"
# The part of the captures above which those of several people are how a set is numbered, and not a mistake.
_FEW = 0.1

Landmarks = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class FaceImage:
    """One row of a manifest; its names are given in the one form of `facexfer.files.names.clean_name`.

    Attributes:
        path: Of the image, absolute or relative to the process.
        identity: Who it is; empty if unknown.
        modality: E.g. ``vis`` or ``nir``.
        split: E.g. ``train`` or ``val``.
        landmarks: Five (x, y) in pixels, x right, y down: image-left eye, image-right eye, nose, image-left and
            image-right mouth corner.
        capture: Equal for images of one shot.
        session: When it was taken.
        camera: By what.
        extra: The other columns.
        line: Its line in the file, 0 if it comes from none.
    """

    path: Path
    identity: str
    modality: str
    split: str
    landmarks: Landmarks | None = None
    capture: str | None = None
    session: str | None = None
    camera: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    line: int = 0

    def __post_init__(self) -> None:
        for column in NAMES:
            text = getattr(self, column)
            if text is not None:
                clean = clean_name(text)
                object.__setattr__(self, column, clean or (None if column in OPTIONAL else ""))


@dataclass(frozen=True)
class Manifest:
    """Rows of a manifest, or a selection of them.

    Attributes:
        path: The file.
        images: The rows, in the file's order.
    """

    path: Path
    images: tuple[FaceImage, ...]

    @property
    def identities(self) -> tuple[str, ...]:
        """The identities, sorted."""
        return tuple(sorted({image.identity for image in self.images}))

    def labels(self) -> np.ndarray:
        """Every image's position in `identities`, (N,) int64."""
        numbers = {identity: number for number, identity in enumerate(self.identities)}
        return np.array([numbers[image.identity] for image in self.images], dtype=np.int64)

    def captures(self) -> np.ndarray:
        """Every image's capture, (N,) of str or None."""
        return np.array([image.capture for image in self.images], dtype=object)

    def select(
        self,
        *,
        split: str | None = None,
        modality: str | Collection[str] | None = None,
        identities: Collection[str] | None = None,
    ) -> "Manifest":
        """Keep the rows that fit all that is given.

        Args:
            split: Keep this split.
            modality: Keep this modality, or these.
            identities: Keep these identities.

        Returns:
            The selection, in the same order.

        Raises:
            InputError: If nothing fits; the error lists the values that there are.
        """
        modalities = (modality,) if isinstance(modality, str) else modality
        wanted = [("split", None if split is None else (split,)), ("modality", modalities)]
        wanted = [(column, values and tuple(map(clean_name, values))) for column, values in wanted]
        chosen = self.images
        for column, values in wanted:
            if values is None:
                continue
            there = {getattr(image, column) for image in chosen}
            if missing := sorted(set(values) - there):
                raise InputError(
                    f"{self.path}: expected images of {column} '{missing[0]}', there are: {', '.join(sorted(there))}"
                )
            chosen = tuple(image for image in chosen if getattr(image, column) in values)
        if identities is not None:
            chosen = tuple(image for image in chosen if image.identity in identities)
            if not chosen:
                raise InputError(f"{self.path}: expected images of {len(identities)} chosen identities, found none")
        return Manifest(self.path, chosen)

    def fingerprint(self) -> str:
        """Hash the rows, with paths relative to the file, and the bytes of the pictures (SHA-256, hex).

        It is the same on every machine, and another when anything that changes figures is.

        Raises:
            InputError: If a picture cannot be read.
        """
        paths = [as_listed(image.path, self.path.parent) for image in self.images]
        digests = picture_digests([image.path for image in self.images])
        rows = [
            json.dumps({**_row(image, path), "sha256 of the picture": digest}, sort_keys=True)
            for image, path, digest in zip(self.images, paths, digests, strict=True)
        ]
        return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def read_manifest(path: Path) -> Manifest:
    """Read a manifest from CSV, or from Parquet where pyarrow is installed.

    Args:
        path: The file; the paths in it are relative to its folder.

    Returns:
        The manifest; whether the images are there is not looked at (see `facexfer.data.images.check_crops`).

    Raises:
        InputError: If the file is missing or damaged, a column is missing, or a row is bad; the error names file, line
            and field.

    Warns:
        DataWarning: If two values of a column differ in capitals or in the width of letters alone, or a `capture` is of
            several people in one modality.
    """
    path = Path(path)
    rows = _read_parquet(path) if path.suffix.lower() == _PARQUET else read_rows(path, REQUIRED, "manifest")
    images = tuple(_parse(row, line, surplus, path) for line, row, surplus in rows)
    if not images:
        raise InputError(f"{path}: expected at least one image, got an empty manifest; add rows")
    _warn_of_likeness(path, images)
    _warn_of_shared_captures(path, images)
    return Manifest(path, images)


def write_manifest(path: Path, images: Iterable[FaceImage]) -> None:
    """Write a manifest as CSV, atomically.

    Args:
        path: The file; image paths are written relative to its folder.
        images: The rows; a column appears if any row has it.

    Raises:
        InputError: If the file's name says Parquet.
    """
    check_csv_name(path)
    write_text(path, manifest_text(path, images))


def check_csv_name(path: Path) -> None:
    """Check that a file can take a manifest that is written, before the work.

    Raises:
        InputError: If its name says Parquet, as which it would be read.
    """
    if path.suffix.lower() == _PARQUET:
        raise InputError(f"{path}: expected the name of a CSV, got Parquet's; name it {path.stem}.csv")


def manifest_text(path: Path, images: Iterable[FaceImage]) -> str:
    """What `write_manifest` would write into a file, with the same arguments."""
    images = list(images)
    paths = references((image.path for image in images), path.parent)
    rows = [_row(image, place) for image, place in zip(images, paths, strict=True)]
    used = {column for row in rows for column in row}
    known = (*REQUIRED, *LANDMARKS, *OPTIONAL)
    columns = [column for column in known if column in used or column in REQUIRED]
    columns += sorted(used - set(known))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read_parquet(path: Path) -> Iterable[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise InputError(f"{path}: expected pyarrow for a Parquet file, it is absent; pip install pyarrow") from error
    try:
        table: Any = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: expected a Parquet manifest, got: {error}; write it again") from error
    check_columns(path, [name.strip() for name in table.column_names], REQUIRED)
    return [
        (line, {key.strip(): _as_text(value) for key, value in row.items()}, 0)
        for line, row in enumerate(table.to_pylist(), start=1)
    ]


def _as_text(value: object) -> str:
    """Write a value of a table as a CSV would hold it; 7.0 is 7, as a column with gaps has whole numbers as floats."""
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return str(int(value))
    return str(value)


def _parse(row: dict[str, str], line: int, surplus: int, path: Path) -> FaceImage:
    if surplus:
        raise wrong_width(path, line, row, surplus)
    names = {column: _name(row[column], column, line, path) for column in NAMES if column in row}
    for column in REQUIRED:
        if not names.get(column, row[column].strip()):
            raise InputError(f"{path}, line {line}, field {column}: expected a value, got nothing; fill it in")
    if "\0" in row["path"]:
        raise InputError(f"{path}, line {line}, field path: expected a path, got a NUL byte; fix the file")
    known = {*REQUIRED, *LANDMARKS, *OPTIONAL}
    for column in row.keys() - known:
        if column.casefold() in known:
            raise InputError(
                f"{path}, line 1: expected the column {column.casefold()}, got {column!a}; write it in small letters"
            )
    return FaceImage(
        path=path.parent / as_meant(row["path"], path.parent),
        landmarks=_parse_landmarks(row, line, path),
        **names,
        extra={key: value for key, value in row.items() if key not in known},
        line=line,
    )


def _name(text: str, column: str, line: int, path: Path) -> str:
    try:
        return clean_name(text)
    except InputError as error:
        raise InputError(f"{path}, line {line}, field {column}: {error}") from error


def _warn_of_likeness(path: Path, images: Iterable[FaceImage]) -> None:
    for column in NAMES:
        known: dict[str, str] = {}
        for name in dict.fromkeys(getattr(image, column) or "" for image in images):
            other = known.setdefault(likeness(name), name)
            if other != name:
                warnings.warn(
                    f"{path}, column {column}: '{other}' and '{name}' count as different; if they are the same, spell "
                    "them identically",
                    DataWarning,
                    stacklevel=3,
                )
                break


def captures_of_several(images: Iterable[FaceImage]) -> dict[str, set[str]]:
    """The captures that tell no shot by themselves, each with the people whom it is of.

    They are of several people in one modality, where shots are numbered by person, or of two people who have pictures
    in two modalities, where every camera counts by itself. A capture that is of a person in one modality and of a name
    without pictures in any other is a shot: pictures without identities have names that are made up.

    Args:
        images: All of them; those of one modality tell less.

    Example:
        >>> def row(identity, modality):
        ...     return FaceImage(Path("a.png"), identity, modality, "train", capture="0001")
        >>> bert = FaceImage(Path("b.png"), "bert", "nir", "train", capture="0002")
        >>> captures_of_several([row("anna", "nir"), row("bert", "vis"), row("anna", "vis"), bert])["0001"] == {
        ...     "anna", "bert"
        ... }
        True
    """
    people: dict[tuple[str, str], set[str]] = {}
    spectra: dict[str, set[str]] = {}
    for image in images:
        spectra.setdefault(image.identity, set()).add(image.modality)
        if image.capture is not None:
            people.setdefault((image.modality, image.capture), set()).add(image.identity)
    of_all: dict[str, set[str]] = {}
    several = set()
    for (_, capture), identities in people.items():
        of_all.setdefault(capture, set()).update(identities)
        if len(identities) > 1:
            several.add(capture)
    for capture, identities in of_all.items():
        if sum(len(spectra[identity]) > 1 for identity in identities) > 1:
            several.add(capture)
    return {capture: of_all[capture] for capture in of_all if capture in several}


def _warn_of_shared_captures(path: Path, images: Sequence[FaceImage]) -> None:
    shared = captures_of_several(images)
    # One or two are a picture under two names, which an evaluation reports.
    if len(shared) > _FEW * len({image.capture for image in images} - {None}):
        capture, identities = next(iter(shared.items()))
        warnings.warn(
            f"{path}, column capture: {len(shared):,} shots are of several people, '{capture}' of {len(identities)}; "
            "a VIS and a NIR picture of one capture are never compared, so give each shot a name of its own, such as "
            "identity/number",
            DataWarning,
            stacklevel=3,
        )


def coordinates(columns: Iterable[str]) -> list[str]:
    """Which columns are named like coordinates of landmarks: ``x1``, ``Y1`` or, of more than five points, ``x68``.

    Example:
        >>> coordinates(["path", "x1", "y1", "Y68", "x"])
        ['x1', 'y1', 'Y68']
    """
    return [column for column in columns if column[:1] in ("x", "X", "y", "Y") and column[1:].isdecimal()]


def _parse_landmarks(row: dict[str, str], line: int, path: Path) -> Landmarks | None:
    some = coordinates(row)
    if some and sorted(some) != sorted(LANDMARKS):
        raise InputError(
            f"{path}, line 1: expected all of {', '.join(LANDMARKS)} or none, got {first_of(some, len(LANDMARKS))}; "
            "choose five points"
        )
    texts = [row.get(column, "").strip() for column in LANDMARKS]
    if not any(texts):
        return None
    numbers = []
    for column, text in zip(LANDMARKS, texts, strict=True):
        try:
            number = float(text)
        except ValueError:
            number = np.nan
        if not np.isfinite(number):
            raise InputError(f"{path}, line {line}, field {column}: expected a number in pixels, got '{text}'")
        numbers.append(number)
    return tuple((numbers[index], numbers[index + 1]) for index in range(0, len(numbers), 2))


def _row(image: FaceImage, path: str) -> dict[str, str]:
    row = {
        "path": path,
        "identity": image.identity,
        "modality": image.modality,
        "split": image.split,
    }
    if image.landmarks is not None:
        coordinates = [coordinate for point in image.landmarks for coordinate in point]
        row |= {column: f"{value:g}" for column, value in zip(LANDMARKS, coordinates, strict=True)}
    row |= {column: value for column in OPTIONAL if (value := getattr(image, column)) is not None}
    return {**row, **image.extra}
