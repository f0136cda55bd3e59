"""What is done already, one JSON line per photo: a killed run continues where it stopped."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

from facexfer.data.preparation.crop import CropRecord
from facexfer.errors import InputError
from facexfer.files.atomic import write_text


class Journal:
    """The finished photos of a folder.

    Args:
        path: The file; it need not exist.
        settings: What the crops depend on; a journal of other settings is refused.

    Raises:
        InputError: If the journal is of other settings, or the file is no journal.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self._settings = json.dumps(settings, sort_keys=True)
        self.records: dict[str, CropRecord] = {}
        if path.exists():
            self._read()

    @contextmanager
    def writing(self) -> Iterator[IO[str]]:
        """Open the journal for `write`; what was read from it is rewritten first, without a half line at its end."""
        write_text(self.path, "".join([self._settings + "\n", *map(_line, self.records.values())]))
        with self.path.open("a", encoding="utf-8") as file:
            yield file

    def write(self, file: IO[str], records: Iterable[CropRecord]) -> None:
        """Add records, and have them with the system before returning."""
        for record in records:
            file.write(_line(record))
            self.records[record.name] = record
        file.flush()

    def _read(self) -> None:
        lines = _lines(self.path)
        if lines[0] and lines[0] != self._settings:
            raise InputError(
                f"{self.path.parent}: expected the settings it was started with, {lines[0][:300]}, "
                f"got {self._settings}; repeat them to continue, or choose another --out"
            )
        self.records = _records(self.path, lines)


def read_records(path: Path) -> dict[str, CropRecord]:
    """Read the finished photos of a folder, whatever its settings: name -> record; empty if there is no journal.

    Raises:
        InputError: If the file is no journal.
    """
    return _records(path, _lines(path)) if path.exists() else {}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").split("\n")


def _records(path: Path, lines: list[str]) -> dict[str, CropRecord]:
    records = {}
    # The last line is empty, or cut off by a kill.
    for number, line in enumerate(lines[1:-1], start=2):
        try:
            record = _record(json.loads(line))
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}, line {number}: expected a JSON line about a photo, got '{line[:60]}'; remove the folder"
            ) from error
        records[record.name] = record
    return records


def _line(record: CropRecord) -> str:
    return json.dumps({key: value for key, value in vars(record).items() if value not in ("", None, ())}) + "\n"


def _record(values: dict[str, Any]) -> CropRecord:
    texts = ("name", "reason", "detail", "bytes_hash", "pixels_hash", "retry", "crop")
    numbers = ("score", "faces", "bits", "usual_bits")
    if not all(isinstance(values.get(key, ""), str) for key in texts):
        raise TypeError("expected texts")
    if not all(isinstance(values.get(key, 0), int | float) for key in numbers):
        raise TypeError("expected numbers")
    for key in ("transform", "stamp"):
        if key in values:
            values[key] = tuple(values[key])
    for key in ("landmarks", "given"):
        if key in values:
            values[key] = tuple((x, y) for x, y in values[key])
    known = {each.name for each in fields(CropRecord)}
    return CropRecord(**{key: value for key, value in values.items() if key in known})
