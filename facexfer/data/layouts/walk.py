"""Walk a folder of photos: in a fixed order, and out of it by no link."""

import os
from collections.abc import Iterator
from pathlib import Path

from facexfer.data.failures import LINK_TO_FOLDER
from facexfer.errors import InputError
from facexfer.files.links import real_path

PICTURES = (".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")

_LONGEST_NAME = 220


def walk_photos(root: Path) -> Iterator[tuple[Path, tuple[str, str] | None]]:
    """List everything in a folder that is named like a photo, without what is hidden.

    Args:
        root: The folder.

    Yields:
        (path relative to the folder, problem): the problem is None, or why it is not read: ``link-to-folder``,
        ``link-out-of-folder``, ``not-a-file``, ``unreadable-folder``, ``name-too-long`` or ``name-not-utf-8`` (its path
        is then written with backslashes). Sorted by path.

    Raises:
        InputError: If there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root}: expected a folder of photos, found none; check the path")
    home = real_path(root)
    found: list[tuple[Path, tuple[str, str] | None]] = []

    def unreadable(error: OSError) -> None:
        path = Path(error.filename).relative_to(root)
        found.append((path, ("unreadable-folder", error.strerror or type(error).__name__)))

    for folder, folders, files in os.walk(root, followlinks=False, onerror=unreadable):
        here = Path(folder)
        folders[:] = _shown(folders)
        found += [
            ((here / name).relative_to(root), (LINK_TO_FOLDER, "links to folders are not followed"))
            for name in folders
            if (here / name).is_symlink()
        ]
        for name in files:
            path = here / name
            if path.suffix.lower() not in PICTURES or name.startswith("."):
                continue
            found.append((path.relative_to(root), _problem(path, home)))
    yield from sorted(map(_with_a_writable_name, found), key=lambda each: each[0].as_posix())


def _shown(folders: list[str]) -> list[str]:
    # Programs keep thumbnails and the like in hidden folders.
    return [name for name in folders if not name.startswith(".")]


def _with_a_writable_name(each: tuple[Path, tuple[str, str] | None]) -> tuple[Path, tuple[str, str] | None]:
    path, problem = each
    raw = os.fsencode(path)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return Path(writable_name(str(path))), ("name-not-utf-8", "rename the file to use it")
    # Room for the suffix that a file has while it is written.
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        return path, ("name-too-long", f"more than {_LONGEST_NAME} bytes, rename the file to use it")
    return path, problem


def writable_name(name: str) -> str:
    """Write a name that the system gave with backslashes for bytes that are no UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _problem(path: Path, home: Path) -> tuple[str, str] | None:
    if path.is_symlink() and home not in real_path(path).parents:
        return "link-out-of-folder", "links out of the folder are not followed"
    # A pipe or a device would be waited for without end.
    return None if path.is_file() else ("not-a-file", "expected a regular file, it is something else")


def find_lists(root: Path) -> list[Path]:
    """Find the text files in a folder that no link leads out of it to, sorted."""
    home = real_path(root)
    return [path for path in sorted(root.rglob("*.txt")) if path.is_file() and home in real_path(path).parents]


def count_others(root: Path) -> dict[str, int]:
    """Count the files that are not named like photos, by suffix; they are not looked at."""
    counts: dict[str, int] = {}
    for _, folders, files in os.walk(root, followlinks=False):
        folders[:] = _shown(folders)
        for name in files:
            suffix = Path(name).suffix.lower() or "(none)"
            if suffix not in PICTURES or name.startswith("."):
                counts[suffix] = counts.get(suffix, 0) + 1
    return dict(sorted(counts.items()))
