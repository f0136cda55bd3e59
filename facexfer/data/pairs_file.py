"""Lists of pairs to verify: LFW's ``pairs.txt``, or a CSV of paths."""

import csv
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facexfer.data.failures import Failure
from facexfer.data.manifest import Manifest
from facexfer.data.pair_lines import NamedPhoto, as_number, read_pair_line
from facexfer.errors import DataWarning, InputError
from facexfer.files.links import real_path
from facexfer.files.rows import read_rows, wrong_width

Numbered = tuple[int, "ListedPair"]


@dataclass(frozen=True)
class ListedPair:
    """A pair of a list.

    Attributes:
        first: The first image's place in the manifest; None for a photo without a crop, which makes the pair a reject.
        second: The second's.
        same: Whether it is one person.
        fold: The part of the list that it belongs to.
    """

    first: int | None
    second: int | None
    same: bool
    fold: int


def read_pairs(path: Path, manifest: Manifest, failures: Sequence[Failure] = ()) -> tuple[ListedPair, ...]:
    """Read a list of pairs of a manifest's images.

    Two forms: LFW's, with a first line ``folds pairs`` and then, fold by fold, ``name 1 4`` for one person and ``name
    1 other 3`` for two, where the number is the one that the file name ends with (without such a first line all pairs
    are one fold); or a CSV with the columns ``first``, ``second`` (paths as in the manifest), ``same`` (1 or 0) and
    ``fold``. Names may hold spaces, with tabs between the fields.

    Args:
        path: The list.
        manifest: The images.
        failures: Photos without a crop; the list may name them too.

    Returns:
        The pairs, in the file's order.

    Raises:
        InputError: If a line is bad, or an image is not in the manifest, or two are of the same name; if a pair is an
            image with itself, or is not what the manifest's identities say.

    Warns:
        DataWarning: If a pair is listed twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a readable list of pairs, got: {error}; check the path") from error
    lines = text.split("\n")
    try:
        heading = [column.strip() for column in next(csv.reader(lines[:1]), [])]
    except csv.Error:
        heading = []
    is_csv = "first" in heading
    numbered = tuple((_read_csv if is_csv else _read_lfw)(path, lines, manifest, failures))
    _check(numbered, manifest, path)
    return tuple(pair for _, pair in numbered)


def _check(pairs: Sequence[Numbered], manifest: Manifest, path: Path) -> None:
    """Check that every pair is one of two images, and what the manifest says of them."""
    identities = [image.identity for image in manifest.images]
    # Where everybody has one image, each may stand for itself: nobody has sorted the photos by person.
    are_sorted = any(count > 1 for name, count in Counter(identities).items() if name)
    listed: Counter[frozenset[int]] = Counter()
    for line, pair in pairs:
        if pair.first is None or pair.second is None:
            continue
        first, second = identities[pair.first], identities[pair.second]
        if pair.first == pair.second:
            name = manifest.images[pair.first].path.name
            raise InputError(f"{path}, line {line}: expected two images, got {name} with itself; take the line out")
        if first and second and are_sorted and pair.same != (first == second):
            came = f"'{first}' in both images" if first == second else f"'{first}' and '{second}'"
            raise InputError(
                f"{path}, line {line}: expected {'one person' if pair.same else 'two persons'} as listed, the manifest "
                f"has {came}; fix the one that is wrong"
            )
        listed[frozenset((pair.first, pair.second))] += 1
    if again := sum(count > 1 for count in listed.values()):
        warnings.warn(f"{path}: pairs listed more than once: {again}; each listing counts", DataWarning, stacklevel=4)


def _read_lfw(path: Path, lines: Sequence[str], manifest: Manifest, failures: Sequence[Failure]) -> Iterator[Numbered]:
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    head = rows[0][1].split() if rows else []
    is_headed = len(head) in (1, 2) and all(as_number(word) is not None for word in head)
    if not is_headed and len(head) < 3:
        raise InputError(
            f"{path}, line 1: expected 'folds pairs', e.g. '10 300', or the columns first, second, same and fold, got "
            f"'{lines[0].strip()[:60] if lines else ''}'"
        )
    half = len(rows)
    if is_headed:
        folds, half = (int(head[0]), int(head[1])) if len(head) == 2 else (1, int(head[0]))
        rows = rows[1:]
        if len(rows) != folds * half * 2:
            raise InputError(
                f"{path}: expected {folds} folds of {half} pairs of one person and {half} of two, got {len(rows)} "
                "lines; is the file complete?"
            )
    places: dict[NamedPhoto, int | None] = dict.fromkeys(
        (failure.identity, number)
        for failure in failures
        if (number := _number(PurePosixPath(failure.path).stem)) is not None
    )
    places.update(_by_name_and_number(manifest))
    for index, (number, line) in enumerate(rows):
        try:
            *photos, same = read_pair_line(line, places.__contains__)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        for name, which in photos:
            if (name, which) not in places:
                raise InputError(
                    f"{path}, line {number}: expected an image of the manifest, got '{name}' number '{which}'; add it, "
                    "or give the --failures that it is among"
                )
        first, second = (places[photo] for photo in photos)
        yield number, ListedPair(first, second, same, index // (2 * half))


def _by_name_and_number(manifest: Manifest) -> dict[tuple[str, int], int]:
    places: dict[tuple[str, int], int] = {}
    for place, image in enumerate(manifest.images):
        number = _number(image.path.stem)
        if number is None:
            continue
        key = (image.identity, number)
        if key in places:
            raise InputError(
                f"{manifest.path}, line {image.line}: expected one image of '{key[0]}' with number {key[1]}, got two; "
                "choose a split and a modality, or list the pairs by path"
            )
        places[key] = place
    return places


def _number(stem: str) -> int | None:
    found = re.search(r"([0-9]{1,9})$", stem)
    return int(found[1]) if found else None


def _read_csv(path: Path, lines: Sequence[str], manifest: Manifest, failures: Sequence[Failure]) -> Iterator[Numbered]:
    home = manifest.path.parent
    # Where the crop of a failed photo would be.
    places: dict[Path, int | None] = dict.fromkeys(
        real_path((home / "crops" / failure.path).with_suffix(".png")) for failure in failures if failure.path
    )
    places.update((real_path(image.path), place) for place, image in enumerate(manifest.images))
    for line, row, surplus in read_rows(path, ("first", "second", "same", "fold")):
        if surplus:
            raise wrong_width(path, line, row, surplus)
        found = []
        for column in ("first", "second"):
            image = real_path(home / row[column].strip()) if "\0" not in row[column] else None
            if image not in places:
                raise InputError(
                    f"{path}, line {line}, field {column}: expected an image of the manifest, got "
                    f"'{row[column]}'; add it, or give the --failures that it is among"
                )
            found.append(places[image])
        same, fold = row["same"].strip(), as_number(row["fold"].strip())
        if same not in ("0", "1") or fold is None:
            raise InputError(
                f"{path}, line {line}: expected same 0 or 1 and fold a number, got '{row['same']}' and '{row['fold']}'"
            )
        yield line, ListedPair(found[0], found[1], same == "1", fold)
