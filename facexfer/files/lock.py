"""Hold a folder for one process; the system lets go of it also when the process is killed."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

from facexfer.errors import InputError


def hold(lock: Path, busy: str) -> AbstractContextManager[object]:
    """Take a lock at once or not at all.

    Args:
        lock: The lock's file, in an existing folder.
        busy: What to say where another process holds it.

    Returns:
        A context that lets go of the lock at its end; on a file system without locks, one that does nothing.

    Raises:
        InputError: If another process holds it.
        OSError: If the file cannot be made.
    """
    try:
        return FileLock(lock, timeout=0).acquire()
    except Timeout as error:
        raise InputError(busy) from error
    except NotImplementedError:
        return nullcontext()


def hold_folder(folder: Path, wanted: str, busy: str) -> AbstractContextManager[object]:
    """Make a folder if it is not there and take it, at once or not at all, by the file ``.lock`` in it.

    Args:
        folder: What is held.
        wanted: What it is expected to be, should it not be fit for it.
        busy: What is expected and what came, where another process holds it.

    Returns:
        As `hold`.

    Raises:
        InputError: If another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return hold(folder / ".lock", f"{folder}: {busy}; wait for it, or give another --out")
    except OSError as error:
        raise InputError(f"{folder}: expected {wanted}, got: {error}; give another --out") from error
