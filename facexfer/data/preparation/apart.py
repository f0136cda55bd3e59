"""Who is trained on is not measured on: the check of a set's splits, whoever made them."""

from collections.abc import Iterable
from pathlib import Path

from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.protocols import NOT_SPLIT, TRAIN, UNUSED
from facexfer.errors import InputError

_NOT_MEASURED = ("", NOT_SPLIT, UNUSED, TRAIN, "pool")


def check_splits_apart(photos: Path, entries: Iterable[PhotoEntry]) -> None:
    """Check that no photo and nobody is in ``train`` and in a split that is measured on.

    Of splits that nobody is trained on, a person may be in several, e.g. as gallery and as probe.

    Args:
        photos: The set, for the error.
        entries: All of its photos, with their splits; those without a crop count too.

    Raises:
        InputError: If one is; the error names the photos.
    """
    entries = list(entries)
    by_name = _in_both((entry.name, entry) for entry in entries)
    for name, (_, other) in by_name.items():
        raise InputError(
            f"{photos}: expected every photo in one split, got {name} in train and in {other.split}; "
            f"{_others(by_name, 'photo')}list it once"
        )
    by_person = _in_both((entry.identity, entry) for entry in entries if entry.identity)
    for person, (one, other) in by_person.items():
        raise InputError(
            f"{photos}: expected nobody in two splits, got '{person}' in train ({one.name}) and in {other.split} "
            f"({other.name}); {_others(by_person, 'identity')}nobody who is trained on may be measured on, so fix the "
            "lists"
        )


def _in_both(named: Iterable[tuple[str, PhotoEntry]]) -> dict[str, tuple[PhotoEntry, PhotoEntry]]:
    """What is in both, each with the first entry that is trained on and the first that is measured on."""
    trained: dict[str, PhotoEntry] = {}
    measured: dict[str, PhotoEntry] = {}
    for name, entry in named:
        if entry.split == TRAIN:
            trained.setdefault(name, entry)
        elif entry.split not in _NOT_MEASURED:
            measured.setdefault(name, entry)
    return {name: (trained[name], measured[name]) for name in sorted(trained.keys() & measured.keys())}


def _others(found: dict[str, tuple[PhotoEntry, PhotoEntry]], what: str) -> str:
    more = len(found) - 1
    return f"so {'is' if more == 1 else 'are'} {more} more ({what}); " if more else ""
