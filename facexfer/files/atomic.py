"""Write files so that none is ever half there: beside, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HALF_WRITTEN = ".*.writing"
"""The names beside, as a pattern: what a killed process has left."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside a file, to be written to; at the end it takes the file's place, after an error it is removed.

    Raises:
        OSError: If it cannot be renamed; the old file is intact.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file beside and rename, so that it is never half there."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside and rename, so that it is never half there."""
    with replacing(path) as beside:
        beside.write_bytes(data)


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside the final one, to be filled; at the end it is renamed, after an error it is removed.

    Args:
        path: The folder's name; missing folders above it are made.

    Yields:
        The folder to fill.

    Raises:
        OSError: If it cannot be made or renamed, e.g. because a folder with files has the name by then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.writing")
    beside.mkdir()
    try:
        yield beside
        os.rename(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
