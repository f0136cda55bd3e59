"""Your own Python files that a recipe or a grid names: they add methods, backbones, layouts, heads and metrics."""

import hashlib
import sys
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb

from facexfer.errors import InputError

_LOADED: dict[Path, str] = {}


def load_plugins(files: Iterable[Path]) -> None:
    """Run plugin files, each once; one that has been changed since is run again.

    A plugin is a program and may do all that one may do: name only files that you trust.

    Args:
        files: Python files. What they register (`facexfer.register_method` and the like) is known from then on.

    Raises:
        InputError: If a file is missing, or raises an error.
    """
    for file in files:
        path = Path(file).resolve()
        try:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"plugin {file}: expected a Python file, got: {error.strerror}; check the path") from error
        if _LOADED.get(path) != content:
            _run(path)
            _LOADED[path] = content


def resolved_plugins(values: object, folder: Path) -> object:
    """Put the folder of a TOML file before the relative paths of its ``plugins``; what is no list of texts stays."""
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        return values
    # With ~ or a variable in front it is no relative path.
    return [value if value.startswith(("~", "$")) else str((folder / value).resolve()) for value in values]


def _run(path: Path) -> None:
    # The folder's digest keeps two files of one name apart.
    name = f"_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"plugin {path}: expected a Python file with the ending .py, got '{path.suffix}'; rename it")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if Path(frame.filename) == path]
        line = error.lineno if isinstance(error, SyntaxError) else next(iter(lines[::-1]), None)
        at = f", line {line}" if line else ""
        raise InputError(f"plugin {path}{at}: {type(error).__name__}: {error}; fix the file") from error
