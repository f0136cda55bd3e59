"""TOML files: a user's by path, or one that comes with the package by name."""

import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType
from typing import Any

from facexfer.errors import InputError
from facexfer.registry import unknown_name_message

_ENDING = ".toml"


def read_toml(name: str | Path, folder: ModuleType, kind: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        name: A path, or the name of a file of the package without its ending.
        folder: `facexfer.recipes` or `facexfer.grids`.
        kind: What it is, for the errors.

    Returns:
        The nested mapping.

    Raises:
        InputError: If the file is missing or no TOML.
    """
    packaged = packaged_files(folder)
    file: Path | Traversable | None = Path(name) if Path(name).is_file() else packaged.get(str(name))
    if file is None and Path(name).is_dir():
        raise InputError(f"{name}: expected a {kind} in TOML, got a folder; name a file")
    if file is None and (str(name).endswith(_ENDING) or len(Path(name).parts) > 1):
        raise InputError(f"{name}: expected a {kind} in TOML, found no such file; check the path")
    if file is None:
        raise InputError(f"no such file; {unknown_name_message(kind, str(name), packaged)}")
    try:
        # Some editors put a byte order mark first.
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{name}: expected a {kind} in TOML, got: {error}; fix the file") from error


def packaged_files(folder: ModuleType) -> dict[str, Traversable]:
    """List the TOML files of a package.

    A checkout has more of them than the wheel: those of the reported runs need data that is not published with them and
    stay in the repository.

    Args:
        folder: `facexfer.recipes` or `facexfer.grids`.

    Returns:
        Name without the ending -> file.
    """
    files = resources.files(folder).iterdir()
    return {file.name.removesuffix(_ENDING): file for file in files if file.name.endswith(_ENDING)}
