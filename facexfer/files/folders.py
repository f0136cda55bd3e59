"""The folders that commands write to: made, or looked for, and in one line why that cannot be."""

import os
from collections.abc import Iterable
from pathlib import Path

from facexfer.errors import InputError
from facexfer.files.links import real_path


def make_folder(folder: Path, wanted: str = "a folder to write to", otherwise: str = "give another --out") -> None:
    """Make a folder with those above it, if it is not there, and check that it can be written to.

    Args:
        folder: The folder.
        wanted: What is expected of it, for the error.
        otherwise: What the user can do instead, likewise.

    Raises:
        InputError: If it cannot be made or written to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as above:
        ...     make_folder(Path(above) / "runs" / "mine")
        ...     (Path(above) / "runs" / "mine").is_dir()
        True
    """
    problem = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        problem = "a file"
    except OSError as error:
        problem = error.strerror or str(error)
    if not problem and not os.access(folder, os.W_OK | os.X_OK):
        problem = "Permission denied"
    if problem:
        raise InputError(f"{folder}: expected {wanted}, got: {problem}; {otherwise}")


def check_folder_of(file: Path) -> None:
    """Check, before the work, that the folder in which a new file or folder will lie is there.

    Args:
        file: What will be written.

    Raises:
        InputError: If it is not.
    """
    if not file.parent.is_dir():
        raise InputError(f"{file}: expected an existing folder, {file.parent} does not exist; make it first")


def check_place_of(file: Path, where: str) -> None:
    """Check, before the work, that a file can be written by renaming: nothing has its name yet, or only a file.

    A device, a pipe or a socket would be gone afterwards, and so would ``/dev/stdout``, wherever it leads.

    Args:
        file: What will be written.
        where: How the user named it, such as ``after --json``, for the error.

    Raises:
        InputError: If its folder is not there, or something else than a file has its name.
    """
    check_folder_of(file)
    if file.is_dir():
        raise InputError(f"{file}: expected a file {where}, got a folder; name another")
    if file.exists() and (not file.is_file() or _is_open_file(file)):
        raise InputError(
            f"{file}: expected a file {where}, got a device, a pipe or the like, which it would replace; name another"
        )


def check_not_read(file: Path, read: Iterable[Path], where: str, otherwise: str = "name another") -> None:
    """Check, before the work, that a file to write is none of those that are read.

    Args:
        file: What will be written.
        read: What the command reads, and what its models were trained from.
        where: How the user named `file`, such as ``after --json``, for the error.
        otherwise: What the user can do instead, likewise.

    Raises:
        InputError: If it is one of them, whatever links lead there.
    """
    place = real_path(file)
    if any(real_path(each) == place for each in read):
        raise InputError(f"{file}: expected a new file {where}, got one that the command reads; {otherwise}")


def _is_open_file(path: Path) -> bool:
    """Whether a path is a link of the system to an open file, such as ``/dev/stdout`` or ``/dev/fd/1``."""
    folder = real_path(path.parent)
    return path.is_symlink() and (folder == Path("/dev") or Path("/proc") in folder.parents)
