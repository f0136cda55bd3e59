"""Photos that have another name or another person than in an earlier run: the same bytes keep their split."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.preparation.crop import CropRecord, file_stamp
from facexfer.data.preparation.earlier import Earlier
from facexfer.data.preparation.folder import JOURNAL
from facexfer.data.preparation.journal import read_records
from facexfer.data.protocols import TRAIN, UNUSED, Listed
from facexfer.errors import InputError


def follow_renamed(earlier: Earlier, entries: Iterable[PhotoEntry]) -> Earlier:
    """Move splits to the photos of the same bytes that were renamed, or are somebody else's now.

    Only photos that the earlier run did not see as they are now are read.

    Args:
        earlier: What is in the folder.
        entries: All photos.

    Returns:
        The same with the splits under today's names and people.

    Raises:
        InputError: If somebody would have photos that were in ``train`` and photos that were not.
    """
    if not earlier.splits:
        return earlier
    records = read_records(earlier.folder / JOURNAL)
    by_name = {photo.name: split for photo, split in earlier.splits.items()}
    by_bytes: dict[str, set[str]] = defaultdict(set)
    for name, each in records.items():
        if each.bytes_hash and name in by_name:
            by_bytes[each.bytes_hash].add(by_name[name])
    sizes = {each.stamp[0] for each in records.values()}
    came: dict[Listed, str] = {}
    moved: set[str] = set()
    stayed: set[str] = set()
    for entry in entries:
        record = records.get(entry.name)
        if entry.problem is not None or (record is not None and record.stamp == file_stamp(entry.source)):
            stayed.add(entry.name)
            continue
        digest = _digest(entry, sizes)
        if record is not None and record.bytes_hash == digest:
            stayed.add(entry.name)
        elif digest in by_bytes:
            had = by_bytes[digest]
            came[Listed(entry.name, entry.identity, entry.modality)] = TRAIN if TRAIN in had else min(had)
            moved.add(digest)
    if not came:
        return earlier
    left = {
        photo: split
        for photo, split in earlier.splits.items()
        if photo.name in stayed or not _has_moved(photo, records, moved)
    }
    splits = left | came
    _check_consistent(earlier, splits, came)
    return replace(earlier, splits=splits)


def _has_moved(photo: Listed, records: Mapping[str, CropRecord], hashes: set[str]) -> bool:
    return photo.name in records and records[photo.name].bytes_hash in hashes


def _digest(entry: PhotoEntry, sizes: set[int]) -> str:
    if file_stamp(entry.source)[0] not in sizes:
        return ""
    try:
        return hashlib.sha256(entry.read()).hexdigest()
    except (OSError, ValueError, MemoryError):
        return ""


def _check_consistent(earlier: Earlier, splits: Mapping[Listed, str], came: Mapping[Listed, str]) -> None:
    by_person: dict[str, set[str]] = defaultdict(set)
    for photo, split in splits.items():
        if photo.identity and split != UNUSED:
            by_person[photo.identity].add(split)
    for photo, split in came.items():
        had = by_person[photo.identity]
        if len(had) > 1 and TRAIN in had:
            raise InputError(
                f"{earlier.folder}: expected the photos of '{photo.identity}' to have been in one split, got "
                f"{photo.name}, whose picture was in {split}, among others in {' and '.join(sorted(had - {split}))}; "
                "give the photos the names that they had, leave this one out, or give another --out"
            )
