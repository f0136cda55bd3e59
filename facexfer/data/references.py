"""How a table names the pictures that it refers to: relative to its own folder."""

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def as_listed(picture: Path, folder: Path) -> str:
    """The relative path from a folder to a picture, with slashes, as the two are spelled; no link is looked at.

    A row that was read in this folder is spelled as it was, on every machine.

    Args:
        picture: The picture.
        folder: The table's folder.

    Returns:
        The path.

    Example:
        >>> as_listed(Path("sets/nir/p1/0.png"), Path("sets/both"))
        '../nir/p1/0.png'
    """
    return Path(os.path.relpath(picture, folder)).as_posix()


def as_meant(text: str, folder: Path) -> str:
    """The path in a table's field, without spaces around it unless a file of exactly that name is there.

    Args:
        text: The field.
        folder: The table's folder.

    Returns:
        The path.

    Example:
        >>> as_meant(" p1/0.png ", Path("sets"))
        'p1/0.png'
    """
    meant = text.strip()
    return text if meant != text and os.path.lexists(folder / text) else meant


def references(pictures: Iterable[Path], folder: Path) -> list[str]:
    """Relative paths, with slashes, by which pictures are found from a folder.

    They are those of `as_listed` wherever these lead to the picture. They do not if there is a link to a folder before
    a ``..``: the system follows the link first. Then the path is that between the folders that the links lead to. A
    picture that is a link itself keeps its name.

    Args:
        pictures: The pictures; they need not exist.
        folder: Where the table will be.

    Returns:
        One path per picture.
    """
    # Of a large set, most pictures are in few folders.
    real = cache(os.path.realpath)

    def refer(picture: Path) -> str:
        listed = as_listed(picture, folder)
        if os.pardir not in (*Path(listed).parts, *picture.parts, *folder.parts):
            return listed
        home = real(picture.parent)
        if real((folder / listed).parent) == home:
            return listed
        return as_listed(Path(home, picture.name), Path(real(folder)))

    return [refer(picture) for picture in pictures]
