"""Name -> factory tables, with errors that suggest what was meant."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from facexfer.errors import InputError

T = TypeVar("T")


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
    return f"unknown {kind} '{name}';{suggestion} {kind}s: {', '.join(names)}"


class Registry(Generic[T], Mapping[str, T]):
    """A table of named factories of one kind.

    Args:
        kind: What the names stand for; it appears in the errors.

    Example:
        >>> colours: Registry[str] = Registry("colour")
        >>> colours.add("red", "#f00")
        '#f00'
        >>> colours["rad"]
        Traceback (most recent call last):
        facexfer.errors.InputError: unknown colour 'rad'; did you mean 'red'? colours: red
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Add an entry under a name and return it.

        Raises:
            ValueError: If the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"{self.kind} '{name}' is registered already; choose another name")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds what it decorates under ``name``."""
        return lambda entry: self.add(name, entry)

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise InputError(unknown_name_message(self.kind, name, self._entries))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
