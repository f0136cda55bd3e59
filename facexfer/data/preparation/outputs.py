"""The tables of a prepared folder: crops, failures, duplicates, and how many of how many."""

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facexfer.data.failures import LINK_TO_FOLDER, LISTED_TWICE, UNKNOWN
from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.manifest import FaceImage, Landmarks, write_manifest
from facexfer.data.preparation.crop import CropRecord
from facexfer.data.preparation.prepare import Prepared
from facexfer.data.protocols import NOT_SPLIT
from facexfer.files.atomic import write_text

_FOLDS = 10
_FIVE = 5


@dataclass(frozen=True)
class Duplicate:
    """Photos that are one.

    Attributes:
        kind: ``same-bytes`` or ``same-pixels``.
        names: Of the photos, sorted.
        identities: Theirs, sorted; several mean that somebody is named wrongly.
    """

    kind: str
    names: tuple[str, ...]
    identities: tuple[str, ...]


def write_tables(out: Path, prepared: Prepared, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``images.csv``, ``failures.csv``, ``duplicates.csv``, ``pairs.csv`` (sets of pairs) and ``summary.json``.

    Args:
        out: The folder.
        prepared: What became of every photo.
        facts: What else the summary shall hold.

    Returns:
        The summary.
    """
    triples = list(zip(prepared.entries, prepared.records, prepared.crops, strict=True))
    made = [(entry, record, crop) for entry, record, crop in triples if not record.reason]
    failed = [(entry, record) for entry, record, _ in triples if record.reason]
    write_manifest(out / "images.csv", [_image(out, *each) for each in made])
    _write_csv(
        out / "failures.csv",
        ("path", "identity", "modality", "split", "capture", "reason", "detail"),
        (
            (entry.name, entry.identity or UNKNOWN, entry.modality, entry.split, entry.capture or "",
             record.reason, record.detail)
            for entry, record in failed
        ),
    )  # fmt: skip
    duplicates = find_duplicates(prepared.entries, prepared.records)
    _write_csv(
        out / "duplicates.csv",
        ("kind", "identities", "photos"),
        ((each.kind, "|".join(each.identities), "|".join(each.names)) for each in duplicates),
    )
    if any(entry.pair is not None for entry in prepared.entries):
        pairs = _pairs(made)
        _write_csv(out / "pairs.csv", ("first", "second", "same", "fold"), pairs)
        facts = {**facts, "pairs": {"listed": len(prepared.entries) // 2, "with_both_crops": len(pairs)}}
    facts = {**facts, "crops_without_photo": _left_over(out, {crop for _, _, crop in made})}
    summary = {**_summary(triples, duplicates), "settings": dict(prepared.settings), **facts}
    write_text(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _left_over(out: Path, crops: Iterable[str]) -> list[str]:
    """The files of ``crops/`` that are no photo's any more: it was taken away, renamed, or fails now."""
    there = (path.relative_to(out).as_posix() for path in (out / "crops").rglob("*.png"))
    return sorted(set(there) - set(crops))


def find_duplicates(entries: Sequence[PhotoEntry], records: Sequence[CropRecord]) -> tuple[Duplicate, ...]:
    """Find photos of the same bytes, among them one that is listed under two identities, and photos of other bytes but
    the same pixels.

    Args:
        entries: The photos.
        records: What became of each.

    Returns:
        One a group of two or more.
    """
    found = []
    by_bytes: dict[str, list[PhotoEntry]] = defaultdict(list)
    by_pixels: dict[str, dict[str, list[PhotoEntry]]] = defaultdict(lambda: defaultdict(list))
    firsts = {entry.name: (entry, record) for entry, record in zip(entries, records, strict=True)}
    for entry, record in zip(entries, records, strict=True):
        if record.reason == LISTED_TWICE:
            first, read = firsts[entry.name.rpartition("#")[0]]
            if read.bytes_hash and first.identity != entry.identity:
                by_bytes[read.bytes_hash].append(entry)
        if record.bytes_hash:
            by_bytes[record.bytes_hash].append(entry)
        if record.pixels_hash:
            by_pixels[record.pixels_hash][record.bytes_hash].append(entry)
    found += [_duplicate("same-bytes", group) for group in by_bytes.values() if len(group) > 1]
    found += [
        _duplicate("same-pixels", [entry for group in groups.values() for entry in group])
        for groups in by_pixels.values()
        if len(groups) > 1
    ]
    return tuple(sorted(found, key=lambda each: (each.kind, each.names)))


def _duplicate(kind: str, group: list[PhotoEntry]) -> Duplicate:
    names = tuple(sorted(entry.name for entry in group))
    return Duplicate(kind, names, tuple(sorted({entry.identity for entry in group})))


def _image(out: Path, entry: PhotoEntry, record: CropRecord, crop: str) -> FaceImage:
    five: Landmarks | None = record.landmarks if len(record.landmarks) == _FIVE else None
    extra = {
        **entry.extra,
        "photo": entry.name,
        "score": "" if record.score is None else f"{record.score:g}",
        "faces": "" if record.faces is None else str(record.faces),
        "retry": record.retry,
        "bits": "" if record.bits is None else str(record.bits),
        "transform": " ".join(repr(value) for value in record.transform),
    }
    return FaceImage(
        out / crop, entry.identity, entry.modality, entry.split or NOT_SPLIT, five, entry.capture, entry.session,
        entry.camera, extra,
    )  # fmt: skip


def _pairs(made: Iterable[tuple[PhotoEntry, CropRecord, str]]) -> list[tuple[str, str, int, int]]:
    halves: dict[int, list[tuple[str, bool]]] = defaultdict(list)
    for entry, _, crop in made:
        if entry.pair is not None:
            halves[entry.pair[0]].append((crop, entry.pair[1]))
    count = max(halves, default=0) + 1
    return [
        (two[0][0], two[1][0], int(two[0][1]), number * _FOLDS // count)
        for number, two in sorted(halves.items())
        if len(two) == 2
    ]


def _summary(
    triples: Sequence[tuple[PhotoEntry, CropRecord, str]], duplicates: tuple[Duplicate, ...]
) -> dict[str, Any]:
    people: dict[str, dict[str, int]] = {}
    photos = [(entry, record) for entry, record, _ in triples if record.reason != LINK_TO_FOLDER]
    for entry, record in photos:
        person = people.setdefault(entry.identity or UNKNOWN, {"photos": 0, "crops": 0})
        person["photos"] += 1
        person["crops"] += not record.reason
    # Photos of nobody that is known are counted, but are no person.
    known = {name: person for name, person in people.items() if name != UNKNOWN}
    records = [record for _, record, _ in triples]
    # In a set of pairs an identity is a pair, and one photo may be in several.
    of_people = all(entry.pair is None for entry, _, _ in triples)
    return {
        "photos": len(photos),
        "crops": sum(not record.reason for record in records),
        "identities": len(known),
        "identities_without_crop": sorted(name for name, person in known.items() if not person["crops"]),
        "failures": dict(sorted(Counter(record.reason for record in records if record.reason).items())),
        "retries": dict(sorted(Counter(record.retry for record in records if record.retry).items())),
        "bits": {
            str(bits): count for bits, count in sorted(Counter(each.bits for each in records if each.bits).items())
        },
        "several_faces": sum((record.faces or 0) > 1 for record in records),
        "duplicates": dict(Counter(each.kind for each in duplicates)),
        "pictures_under_several_identities": [
            {"identities": each.identities, "photos": each.names}
            for each in duplicates
            if of_people and len(each.identities) > 1
        ],
        "per_identity": dict(sorted(people.items())),
    }


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
