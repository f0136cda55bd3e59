"""Write files so that none is ever half there: under a temporary name, then renamed."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HALF_WRITTEN = ".*.writing"
"""The temporary names, as a pattern: what a killed process has left."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; at the end it takes the file's place, after an error it is removed.

    Raises:
        OSError: If it cannot be written or renamed; the old file is intact.
    """
    temporary = _temporary(path)
    try:
        with _naming(path):
            yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it, so that it is never half there."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that it is never half there."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder next to the final one, to be filled; at the end it is renamed, after an error it is removed.

    Args:
        path: The folder's name; missing folders above it are made.

    Yields:
        The folder to fill.

    Raises:
        OSError: If it cannot be made or renamed, e.g. because a folder with files has the name by then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        with _naming(path):
            yield temporary
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put a file's name to the error that its disk is full, which has none, or that of a file copied from."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.filename = str(path)
        raise


def _temporary(path: Path) -> Path:
    """A name beside a file's that nobody else has; process numbers would not do, which containers share."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.writing")
