"""Where a path leads once the links in it are followed."""

import os
from pathlib import Path


def real_path(path: Path) -> Path:
    """Follow the links in a path, as ``Path.resolve`` does, also where they lead in a circle.

    Before Python 3.13 ``Path.resolve`` raises a RuntimeError of such links, and one of them in a folder of photos would
    end the work on all. Here the path stays as it is from there on, and nothing is found at it.

    Args:
        path: It need not exist.

    Returns:
        The absolute path.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     circle = Path(folder) / "circle.png"
        ...     circle.symlink_to("circle.png")
        ...     real_path(circle).name, circle.is_file()
        ('circle.png', False)
    """
    return Path(os.path.realpath(path))
