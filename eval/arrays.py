"""Read embeddings, labels and scores that another program has saved."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from facexfer.errors import InputError


def read_array(source: ArrayLike | Path) -> np.ndarray:
    """Read a ``.npy`` file; no pickle inside it is ever run.

    Args:
        source: The file; an array is returned unchanged.

    Returns:
        The array.

    Raises:
        InputError: If the file is missing, damaged, or holds Python objects.
    """
    if not isinstance(source, str | Path):
        return np.asarray(source)
    path = Path(source)
    wanted = f"{path}: expected a .npy file of numbers or text"
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError as error:
        raise InputError(f"{wanted}, got: {error.strerror}; save it with numpy.save") from error
    if start.startswith(b"PK"):
        raise InputError(f"{path}: expected one array (.npy), got an archive; save each array with numpy.save")
    if start != b"\x93NUMPY":
        raise InputError(f"{wanted}, got another kind; save it with numpy.save")
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{wanted}, got: {error}; save it with numpy.save") from error
