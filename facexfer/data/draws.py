"""Several draws of one protocol, each a manifest of its own: the published list of a set may be unknown."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from facexfer.data.failures import NO_ATTEMPT, UNKNOWN, read_failures
from facexfer.data.manifest import FaceImage, manifest_text, read_manifest, write_manifest
from facexfer.data.protocols import Draw, Listed, draw_splits
from facexfer.data.references import as_listed
from facexfer.errors import InputError
from facexfer.files.atomic import write_text
from facexfer.files.folders import make_folder
from facexfer.files.links import real_path
from facexfer.files.lock import hold_folder
from facexfer.files.names import clean_name
from facexfer.files.rows import read_rows

_RECORD = "draws.json"


def write_draws(
    manifest: Path, out: Path, protocol: str, count: int, held_out: int | None = None, failures: Path | None = None
) -> tuple[Draw, ...]:
    """Write ``PROTOCOL-0.csv``, ``PROTOCOL-1.csv`` and so on, and ``draws.json`` with their fingerprints.

    Args:
        manifest: Of all crops.
        out: A folder; it is made. Other draws that are there stay, as do their lines in ``draws.json``.
        protocol: One of ``PROTOCOLS``.
        count: How many draws, numbered from 0.
        held_out: Validation identities, where the protocol leaves that open.
        failures: Photos without a crop: their people take part in the draw, and each draw gets a
            ``PROTOCOL-0-failures.csv`` with its splits, for ``evaluate --failures``.

    Returns:
        The draws, of the manifest's images alone.

    Raises:
        InputError: If a file is bad, the protocol does not fit, another draw of the same name is there, or another
            call is writing to the folder; nothing has been written then.
    """
    images = read_manifest(manifest).images
    photos = _listed(images, manifest.parent)
    failed = [] if failures is None else _failed(failures)
    photos += map(_listed_failure, failed)
    drawn = [draw_splits(photos, protocol, number, held_out) for number in range(count)]
    if any(real_path(out / f"{draw.name}.csv") == real_path(manifest) for draw in drawn):
        raise InputError(f"{manifest}: expected another folder, a draw would take its place; give another --out")
    _draws_beside(out, images, drawn)
    make_folder(out)
    record = {
        draw.name: {
            "fingerprint": draw.fingerprint,
            "val": sorted({photo.identity for photo, part in zip(photos, draw.splits, strict=True) if part == "val"}),
        }
        for draw in drawn
    }
    busy = "expected a folder that no other split writes to, one is at work in it"
    with hold_folder(out, "a folder to write to", busy):
        # Read again: another split may have come between.
        known = _draws_beside(out, images, drawn)
        for draw in drawn:
            write_manifest(out / f"{draw.name}.csv", _split(images, draw))
            rest = draw.splits[len(images) :]
            if failures is not None:
                rows = [{**row, "split": part} for row, part in zip(failed, rest, strict=True)]
                write_text(out / f"{draw.name}-failures.csv", _text(rows, failed))
        write_text(out / _RECORD, json.dumps(known | record, indent=2) + "\n")
    return tuple(replace(draw, splits=draw.splits[: len(images)]) for draw in drawn)


def _listed(images: Sequence[FaceImage], folder: Path) -> list[Listed]:
    """Name each crop after its photo, or by its path, if the photo is not known or a person has two of that name."""

    def of_photo(image: FaceImage) -> tuple[str, ...]:
        return (image.identity, image.modality, image.extra.get("photo", ""))

    counts = Counter(map(of_photo, images))

    def name(image: FaceImage) -> str:
        photo = image.extra.get("photo", "")
        return photo if photo and counts[of_photo(image)] == 1 else as_listed(image.path, folder)

    return [Listed(name(image), image.identity, image.modality) for image in images]


def _split(images: Sequence[FaceImage], draw: Draw) -> list[FaceImage]:
    return [replace(image, split=part) for image, part in zip(images, draw.splits, strict=False)]


def _draws_beside(folder: Path, images: Sequence[FaceImage], drawn: Sequence[Draw]) -> dict[str, dict[str, Any]]:
    """What earlier calls have drawn into a folder, in which no other draw has the name of one of these."""
    known = _known_draws(folder)
    for draw in drawn:
        recorded = known.get(draw.name, {}).get("fingerprint") == draw.fingerprint
        if not recorded and _is_another(folder / f"{draw.name}.csv", images, draw):
            raise InputError(
                f"{folder}: expected a folder without another {draw.name}.csv, got one that is not this draw; give "
                "another --out, or remove it"
            )
    return known


def _is_another(file: Path, images: Sequence[FaceImage], draw: Draw) -> bool:
    """Whether another draw's file is there; an interrupted call has written this one's, and not yet the record."""
    if not file.exists():
        return False
    return not file.is_file() or file.read_bytes() != manifest_text(file, _split(images, draw)).encode()


def _known_draws(folder: Path) -> dict[str, dict[str, Any]]:
    """What earlier calls have drawn into a folder."""
    file = folder / _RECORD
    if not file.is_file():
        return {}
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict) or not all(isinstance(draw, dict) for draw in known.values()):
        raise InputError(f"{file}: expected draws by name, as split writes them, got another file; give another --out")
    return known


def _failed(path: Path) -> list[dict[str, str]]:
    read_failures(path)  # Its checks.
    return [row for _, row, _ in read_rows(path, ("identity",))]


def _listed_failure(row: dict[str, str]) -> Listed:
    name = clean_name(row["identity"])
    return Listed(
        row.get("path", ""),
        "" if name == UNKNOWN else name,
        clean_name(row.get("modality", "")),
        row.get("reason") not in NO_ATTEMPT,
    )


def _text(rows: list[dict[str, str]], original: list[dict[str, str]]) -> str:
    if not original:
        return "identity,split,reason\n"
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys([*original[0], "split"])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
