"""Hold a folder for one process; the system lets go of it also when the process is killed."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

from facexfer.errors import InputError


def hold(lock: Path, busy: str) -> AbstractContextManager[object]:
    """Take a lock at once or not at all.

    Args:
        lock: The lock's file, in a folder that is there.
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
