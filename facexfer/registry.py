"""Name -> factory tables, with errors that suggest what was meant."""

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from traceback import extract_tb
from types import ModuleType
from typing import Generic, TypeVar

from facexfer.errors import InputError, first_of

T = TypeVar("T")

# How many known names an error lists.
_LISTED = 30


def unknown_name_message(kind: str, name: str, known: Iterable[str]) -> str:
    """Compose the one-line message for a name that is not in a table.

    Args:
        kind: What the name stands for, e.g. ``"method"``.
        name: The name that came.
        known: The names that would have been right.

    Returns:
        The message, with the closest known name as a suggestion where one is close.

    Example:
        >>> unknown_name_message("method", "afaa", ["afa", "l2"])
        "unknown method 'afaa'; did you mean 'afa'? methods: afa, l2"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    suggestion = f" did you mean '{close[0]}'?" if close else ""
    return f"unknown {kind} '{name}';{suggestion} {kind}s: {first_of(names, _LISTED)}"


class Registry(Generic[T], Mapping[str, T]):
    """A table of named factories of one kind, those of other installed packages among them.

    Another package declares its own in its pyproject.toml, ``[project.entry-points."facexfer.methods"]`` and the like;
    they are looked for when a name is asked for, and each is imported when it is the one that is asked for.

    Args:
        kind: What the names stand for; it appears in the errors.
        group: The last part of the name of the group of entry points; empty for a table that others cannot add to in
            this way.

    Example:
        >>> colours: Registry[str] = Registry("colour")
        >>> colours.add("red", "#f00")
        '#f00'
        >>> colours["rad"]
        Traceback (most recent call last):
        facexfer.errors.InputError: unknown colour 'rad'; did you mean 'red'? colours: red
    """

    def __init__(self, kind: str, group: str = "") -> None:
        self.kind, self.group = kind, group
        self._entries: dict[str, T] = {}
        self._elsewhere: dict[str, EntryPoint] | None = None if group else {}

    def add(self, name: str, entry: T) -> T:
        """Add an entry under a name and return it; what is defined again, as by a notebook's cell, takes its own place.

        Raises:
            ValueError: If the name is taken.
        """
        if name in self._entries and not _is_again(entry, self._entries[name]):
            raise ValueError(f"{self.kind} '{name}' is registered already; choose another name")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds what it decorates under ``name``."""
        return lambda entry: self.add(name, entry)

    def __getitem__(self, name: str) -> T:
        elsewhere = self._of_other_packages()
        if name in elsewhere:
            self._load(elsewhere[name])
        if name not in self._entries:
            raise InputError(unknown_name_message(self.kind, name, self))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._of_other_packages()

    def __iter__(self) -> Iterator[str]:
        return iter([*self._entries, *(name for name in self._of_other_packages() if name not in self._entries)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _of_other_packages(self) -> dict[str, EntryPoint]:
        """The entry points that have not been loaded yet, by name."""
        if self._elsewhere is None:
            self._elsewhere = {each.name: each for each in entry_points(group=f"{__package__}.{self.group}")}
        return self._elsewhere

    def _load(self, found: EntryPoint) -> None:
        """Register what an entry point names.

        Raises:
            InputError: If it cannot be imported, or its name is taken.
        """
        package = f"the package {found.dist.name}" if found.dist else "another package"
        if found.name in self._entries:
            if getattr(self._entries[found.name], "__module__", "") == found.module:
                # Somebody has imported its module, which added it.
                self._of_other_packages().pop(found.name)
                return
            raise InputError(
                f"{self.kind} '{found.name}' comes with facexfer, {package} has another one; uninstall that package or "
                "let it choose another name"
            )
        try:
            entry = found.load()
        except Exception as error:
            raise InputError(
                f"{self.kind} '{found.name}' of {package} cannot be imported from {found.value}: "
                f"{type(error).__name__}: {error}; fix or uninstall it"
            ) from error
        self._of_other_packages().pop(found.name)
        # Its module may have added it while it was imported.
        if found.name not in self._entries:
            self.add(found.name, entry)


def modules_of(package: str, path: Iterable[str]) -> Iterator[ModuleType]:
    """Import the modules of a folder, so that a new file in it needs no mention anywhere else.

    Args:
        package: The folder's ``__name__``.
        path: Its ``__path__``.

    Yields:
        The modules by name; folders within are left out.
    """
    for module in sorted(iter_modules(path), key=lambda module: module.name):
        if not module.ispkg:
            yield import_module(f"{package}.{module.name}")


@contextmanager
def blaming(part: object, what: str) -> Iterator[None]:
    """Turn an exception of a part that is not facexfer's own into one line that says where to fix it.

    Args:
        part: The registered function or class.
        what: What to call it, such as ``head 'mine'``.

    Raises:
        InputError: For any other exception; those of facexfer's own parts stay what they are.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not is_foreign(part):
            raise
        module = getattr(part, "__module__", None) or type(part).__name__
        file = getattr(sys.modules.get(module), "__file__", None)
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
        at = f", line {lines[-1]}" if lines else ""
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"plugin {file or module}{at}: {what}: {said}; fix the file") from error


def is_foreign(part: object) -> bool:
    """Whether a function, a class or what one made is of a plugin or another package, and not facexfer's own."""
    return (getattr(part, "__module__", None) or "").partition(".")[0] != __package__


def _is_again(entry: object, known: object) -> bool:
    """Whether two functions or classes are one that was defined twice."""
    first, second = ([getattr(each, part, None) for part in ("__module__", "__qualname__")] for each in (entry, known))
    return None not in first and first == second
