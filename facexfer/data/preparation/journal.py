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
        lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        if lines[0] and lines[0] != self._settings:
            raise InputError(
                f"{self.path.parent}: expected the settings it was started with, {lines[0][:300]}, "
                f"got {self._settings}; repeat them to continue, or choose another --out"
            )
        # The last line is empty, or cut off by a kill.
        for line in lines[1:-1]:
            try:
                values = json.loads(line)
            except ValueError as error:
                raise InputError(f"{self.path}: expected JSON lines, got '{line[:60]}'; remove the folder") from error
            self.records[values["name"]] = _record(values)


def _line(record: CropRecord) -> str:
    return json.dumps({key: value for key, value in vars(record).items() if value not in ("", None, ())}) + "\n"


def _record(values: dict[str, Any]) -> CropRecord:
    for key in ("transform", "stamp"):
        if key in values:
            values[key] = tuple(values[key])
    for key in ("landmarks", "given"):
        if key in values:
            values[key] = tuple((x, y) for x, y in values[key])
    known = {each.name for each in fields(CropRecord)}
    return CropRecord(**{key: value for key, value in values.items() if key in known})
