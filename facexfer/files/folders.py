"""The folders that commands write to: made, or looked for, and in one line why that cannot be."""

import os
from pathlib import Path

from facexfer.errors import InputError


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
