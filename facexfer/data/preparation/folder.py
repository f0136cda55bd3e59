"""The folder that crops come into: one run at a time writes to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facexfer.errors import InputError
from facexfer.files.folders import make_folder
from facexfer.files.lock import hold

JOURNAL = "progress.jsonl"
_LOCK = ".progress.lock"


@contextmanager
def own_folder(out: Path) -> Iterator[None]:
    """Make a folder or continue in an unfinished one, and keep other runs out of it meanwhile.

    A killed run keeps nobody out: the system frees what it held.

    Args:
        out: The folder.

    Raises:
        InputError: If it cannot be made, holds something else, or another run is at work in it.
    """
    make_folder(out)
    if not (out / JOURNAL).exists() and any(path.name != _LOCK for path in out.iterdir()):
        raise InputError(f"{out}: expected a new or empty folder, there is something else in it; give another --out")
    try:
        held = hold(
            out / _LOCK,
            f"{out}: expected a folder that no other run writes to, one is at work in it; wait for it, or give "
            "another --out",
        )
    except OSError as error:
        raise InputError(f"{out}: expected a folder to write to, got: {error.strerror}; give another --out") from error
    with held:
        # What a killed process was about to rename.
        for half in (out / "crops").rglob(".*.writing"):
            half.unlink()
        yield
