"""What a file holds, in one number."""

import hashlib
from collections.abc import Sequence
from pathlib import Path


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_digest(paths: Sequence[Path]) -> str:
    """Give one SHA-256 of several files, in hex; of one file, that of `file_digest`."""
    if len(paths) == 1:
        return file_digest(paths[0])
    return hashlib.sha256("".join(file_digest(path) for path in paths).encode()).hexdigest()
