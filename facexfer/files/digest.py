"""What files hold, in one number."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from facexfer.errors import InputError


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_digest(paths: Sequence[Path]) -> str:
    """One SHA-256 of several files, in hex; for one file, the same as `file_digest`."""
    if len(paths) == 1:
        return file_digest(paths[0])
    return join_digests([file_digest(path) for path in paths])


def join_digests(digests: Sequence[str]) -> str:
    """One SHA-256 of several, in their order, in hex."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def picture_digests(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of every picture's file, in hex, several computed at a time.

    Raises:
        InputError: If one cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_picture_digest, paths))


def _picture_digest(path: Path) -> str:
    try:
        # A pipe would be waited for without end.
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: expected a readable image, got a folder or the like; check the path")
        return file_digest(path)
    except OSError as error:
        raise InputError(f"{path}: expected a readable image, got: {error.strerror}; check the path") from error
