"""Lists of pairs to verify: LFW's ``pairs.txt``, or a CSV of paths."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facexfer.data.failures import Failure
from facexfer.data.manifest import Manifest
from facexfer.errors import InputError
from facexfer.files.rows import read_rows

_NUMBER = re.compile("[0-9]{1,9}")


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
    1 other 3`` for two, where the number is the one that the file name ends with; or a CSV with the columns
    ``first``, ``second`` (paths as in the manifest), ``same`` (1 or 0) and ``fold``.

    Args:
        path: The list.
        manifest: The images.
        failures: Photos without a crop; the list may name them too.

    Returns:
        The pairs, in the file's order.

    Raises:
        InputError: If a line is bad, or an image is not in the manifest, or two are of the same name.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a readable list of pairs, got: {error}; check the path") from error
    lines = text.splitlines()
    if lines and "first" in lines[0].split(","):
        return _read_csv(path, manifest, failures)
    return _read_lfw(path, lines, manifest, failures)


def _read_lfw(path: Path, lines: list[str], manifest: Manifest, failures: Sequence[Failure]) -> tuple[ListedPair, ...]:
    head = lines[0].split() if lines else []
    if not head or len(head) > 2 or not all(_NUMBER.fullmatch(word) for word in head):
        raise InputError(f"{path}, line 1: expected 'folds pairs', e.g. '10 300', got '{lines[0] if lines else ''}'")
    folds, each = (int(head[0]), int(head[1])) if len(head) == 2 else (1, int(head[0]))
    places: dict[tuple[str, int], int | None] = dict.fromkeys(
        (failure.identity, number)
        for failure in failures
        if (number := _number(PurePosixPath(failure.path).stem)) is not None
    )
    places.update(_by_name_and_number(manifest))
    rows = [(number, line.split()) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    if len(rows) != folds * each * 2:
        raise InputError(
            f"{path}: expected {folds} folds of {each} pairs of one person and {each} of two, got {len(rows)} lines; "
            "is the file complete?"
        )
    pairs = []
    for index, (number, words) in enumerate(rows):
        if len(words) == 3:
            names = [(words[0], words[1]), (words[0], words[2])]
        elif len(words) == 4:
            names = [(words[0], words[1]), (words[2], words[3])]
        else:
            raise InputError(f"{path}, line {number}: expected 3 or 4 words, got {len(words)}; e.g. 'name 1 4'")
        found = [_place(places, name, word, path, number) for name, word in names]
        pairs.append(ListedPair(found[0], found[1], len(words) == 3, index // (2 * each)))
    return tuple(pairs)


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


def _place(places: dict[tuple[str, int], int | None], name: str, word: str, path: Path, line: int) -> int | None:
    if not _NUMBER.fullmatch(word) or (name, int(word)) not in places:
        raise InputError(
            f"{path}, line {line}: expected an image of the manifest, got '{name}' number '{word}'; add it, or give "
            "the --failures that it is among"
        )
    return places[name, int(word)]


def _read_csv(path: Path, manifest: Manifest, failures: Sequence[Failure]) -> tuple[ListedPair, ...]:
    home = manifest.path.parent
    # Where the crop of a failed photo would be.
    places: dict[Path, int | None] = dict.fromkeys(
        (home / "crops" / failure.path).with_suffix(".png").resolve() for failure in failures if failure.path
    )
    places.update((image.path.resolve(), place) for place, image in enumerate(manifest.images))
    pairs = []
    for line, row, _ in read_rows(path, ("first", "second", "same", "fold")):
        found = []
        for column in ("first", "second"):
            image = (manifest.path.parent / row[column]).resolve()
            if image not in places:
                raise InputError(
                    f"{path}, line {line}, field {column}: expected an image of the manifest, got "
                    f"'{row[column]}'; add it, or give the --failures that it is among"
                )
            found.append(places[image])
        if row["same"] not in ("0", "1") or not _NUMBER.fullmatch(row["fold"]):
            raise InputError(
                f"{path}, line {line}: expected same 0 or 1 and fold a number, got '{row['same']}' and '{row['fold']}'"
            )
        pairs.append(ListedPair(found[0], found[1], row["same"] == "1", int(row["fold"])))
    return tuple(pairs)
