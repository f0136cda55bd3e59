"""Write files so that none is ever half there: beside, then renamed."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file beside and rename, so that it is never half there."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside and rename, so that it is never half there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
