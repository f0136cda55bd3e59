"""One comparison at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facexfer.errors import InputError
from facexfer.folder_lock import hold


@contextmanager
def only_one_in(folder: Path) -> Iterator[None]:
    """Hold a folder for as long as the block runs; the system lets go of it also when the process is killed.

    Args:
        folder: Made if it is not there.

    Raises:
        InputError: If another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = hold(
            folder / ".lock",
            f"{folder}: expected a folder that no other comparison is writing into, one is running there; wait for it, "
            "or give another --out",
        )
    except OSError as error:
        raise InputError(f"{folder}: expected a folder for the comparison, got: {error}; give another --out") from error
    with held:
        yield
