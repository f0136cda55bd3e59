"""One comparison at a time in a folder."""

from contextlib import AbstractContextManager
from pathlib import Path

from facexfer.folder_lock import hold_folder


def only_one_in(folder: Path) -> AbstractContextManager[object]:
    """Hold a folder for as long as the block runs; the system lets go of it also when the process is killed.

    Args:
        folder: Made if it is not there.

    Raises:
        InputError: If another process holds it, or it cannot be written.
    """
    busy = "expected a folder that no other comparison is writing into, one is running there"
    return hold_folder(folder, "a folder for the comparison", busy)
