"""A folder per identity, or the identity in each file's path by a regular expression."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from facexfer.data.layouts.entry import LayoutOptions, PhotoEntry, register_layout
from facexfer.data.layouts.walk import count_others, walk_photos
from facexfer.errors import InputError


@register_layout("folders", reads=("modality", "identity_regex"))
def folder_per_identity(root: Path, options: LayoutOptions) -> Iterator[PhotoEntry]:
    """List a folder per identity: ``root/IDENTITY/.../photo.jpg``.

    With ``--identity-regex`` the identity is what the expression finds in the path instead, such as ``^(\\d+)_`` for
    ``0012_03.bmp``.

    Args:
        root: The folder.
        options: The expression and the modality.

    Yields:
        One entry per photo; one whose path tells no identity has the problem ``no-identity``.

    Raises:
        InputError: If there is no such folder, no photo in it, or the expression is wrong.
    """
    expression = _compiled(options.identity_regex)
    empty = True
    for path, problem in walk_photos(root):
        empty = False
        identity = _identity(path, expression)
        if identity is None and problem is None:
            problem = ("no-identity", "no folder and no expression tells whose photo this is")
        yield PhotoEntry(path.as_posix(), root / path, identity or "", options.modality, problem=problem)
    if empty:
        others = ", ".join(f"{count} {suffix}" for suffix, count in count_others(root).items())
        found = f"none among other files ({others})" if others else "none"
        raise InputError(f"{root}: expected pictures, found {found}; is it the right folder?")


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"expected a regular expression for the identity, got '{pattern}': {error}") from error
    if not expression.groups:
        raise InputError(
            f"expected a group in the expression, got '{pattern}' without; write (...) around the identity"
        )
    return expression


def _identity(path: Path, expression: re.Pattern[str] | None) -> str | None:
    if expression is None:
        name = path.parts[0] if len(path.parts) > 1 else None
    else:
        found = expression.search(unicodedata.normalize("NFC", path.as_posix()))
        name = found and found["identity" if "identity" in expression.groupindex else 1]
    return name if name and not name.isspace() else None
