"""What an earlier run has left in a folder: photos that come later move nobody into another split."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facexfer.data.failures import read_failures
from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.manifest import REQUIRED, read_manifest
from facexfer.data.protocols import NOT_SPLIT, TRAIN, UNUSED, Draw, Listed
from facexfer.errors import InputError
from facexfer.files.rows import read_rows

_OTHERWISE = "or give another --out"
# What is no split of its own.
_NONE = ("", NOT_SPLIT, UNUSED)


@dataclass(frozen=True)
class Earlier:
    """The crops and failures of a folder.

    Attributes:
        folder: The folder.
        modalities: Of its crops.
        splits: The split of each photo that has one, with a crop or without.
        record: ``summary.json``; None if it is not there, as after a kill, or damaged.
    """

    folder: Path
    modalities: frozenset[str]
    splits: Mapping[Listed, str]
    record: Mapping[str, Any] | None

    @property
    def drawn(self) -> Mapping[str, Any]:
        """What is recorded of the draw; empty if the layout has made the splits, or nothing is known."""
        return (self.record or {}).get("split") or {}


def read_earlier(folder: Path) -> Earlier | None:
    """Read what an earlier run has left.

    Args:
        folder: Of `facexfer.data.preparation.photo_set.prepare`.

    Returns:
        It, or None if there are no crops yet: then nobody can have been trained on.

    Raises:
        InputError: If a table of the folder is damaged.
    """
    table, failures = folder / "images.csv", folder / "failures.csv"
    if not table.is_file() or next(read_rows(table, REQUIRED, "manifest"), None) is None:
        return None
    images = read_manifest(table).images
    splits = {
        Listed(image.extra.get("photo", ""), image.identity, image.modality): image.split
        for image in images
        if image.split != NOT_SPLIT
    }
    for failure in read_failures(failures) if failures.is_file() else ():
        if failure.split is not None:
            splits[Listed(failure.path, failure.identity, failure.modality or "")] = failure.split
    return Earlier(folder, frozenset(image.modality for image in images), splits, _read_record(folder))


def check_draw(earlier: Earlier, draw: Draw, photos: Sequence[Listed], held_out: int | None) -> None:
    """Refuse another draw than that of the folder.

    Args:
        earlier: What is in the folder.
        draw: Of all photos.
        photos: These.
        held_out: The number of validation identities that was asked for.

    Raises:
        InputError: If the folder was split in another way.
    """
    known = earlier.drawn
    if not earlier.splits:
        return
    if earlier.record is None:
        changed = [photo for photo, split in zip(photos, draw.splits, strict=True) if _differs(earlier, photo, split)]
        if changed:
            raise InputError(
                f"{earlier.folder}: expected a summary.json that tells of which draw its split is, found none, and "
                f"{draw.name} would move {len(changed)} photos such as {changed[0].name}; give another --out"
            )
    elif not known:
        raise InputError(
            f"{earlier.folder}: expected the layout's splits, which are there, got --protocol {draw.protocol}; leave "
            f"it out, {_OTHERWISE}"
        )
    elif known.get("name") != draw.name:
        raise InputError(
            f"{earlier.folder}: expected the split that is there, {known.get('name')}, got {draw.name}; repeat "
            f"--protocol and --draw as they were, {_OTHERWISE}"
        )
    elif known.get("val_identities", held_out) != held_out:
        wanted, got = ("a fifth" if number is None else f"{number}" for number in (known["val_identities"], held_out))
        raise InputError(
            f"{earlier.folder}: expected the --val-identities of the split that is there, {wanted}, got {got}; repeat "
            f"it as it was, {_OTHERWISE}"
        )


def check_entries(earlier: Earlier, entries: Iterable[PhotoEntry]) -> None:
    """Refuse another modality's photos, and those whose splits are lost or others than before.

    Args:
        earlier: What is in the folder; its manifest would be lost.
        entries: All photos, with their splits.

    Raises:
        InputError: If the folder is not theirs.
    """
    entries = list(entries)
    got = {entry.modality for entry in entries}
    if not earlier.modalities & got:
        raise InputError(
            f"{earlier.folder}: expected photos of the modality that is there, "
            f"{', '.join(sorted(earlier.modalities))}, got {', '.join(sorted(got))}; choose another --out"
        )
    if earlier.splits and all(entry.split in ("", NOT_SPLIT) for entry in entries):
        raise InputError(
            f"{earlier.folder}: expected a split as it is there, {', '.join(sorted(set(earlier.splits.values())))}, "
            "got none; repeat --protocol, or choose another --out"
        )
    _check_photos_stay(earlier, entries)
    _check_people_stay(earlier, entries)


def _differs(earlier: Earlier, photo: Listed, split: str) -> bool:
    return earlier.splits.get(photo, split) != split


def _check_photos_stay(earlier: Earlier, entries: Iterable[PhotoEntry]) -> None:
    before = {photo.name: split for photo, split in earlier.splits.items() if split != UNUSED}
    for entry in entries:
        if entry.split not in (*_NONE, before.get(entry.name, entry.split)):
            raise _moved(earlier, f"the photo {entry.name}", {before[entry.name]}, {entry.split})


def _check_people_stay(earlier: Earlier, entries: Iterable[PhotoEntry]) -> None:
    before: dict[str, set[str]] = defaultdict(set)
    now: dict[str, set[str]] = defaultdict(set)
    for photo, split in earlier.splits.items():
        before[photo.identity].add(split)
    for entry in entries:
        now[entry.identity].add(entry.split)
    for identity in sorted(before.keys() & now.keys() - {""}):
        had, has = before[identity].difference(_NONE), now[identity].difference(_NONE)
        # Of splits that nobody is trained on, a person may be in several, e.g. as gallery and as probe.
        if had and has - had and TRAIN in had | has:
            raise _moved(earlier, identity, had, has)


def _moved(earlier: Earlier, what: str, had: set[str], has: set[str]) -> InputError:
    return InputError(
        f"{earlier.folder}: expected {what} to stay in {' and '.join(sorted(had))}, got {' and '.join(sorted(has))}; "
        "nobody who was trained on may be measured on, so give another --out"
    )


def _read_record(folder: Path) -> Mapping[str, Any] | None:
    try:
        record = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
