"""Lines of LFW's ``pairs.txt``, also with names of several words."""

import re
from collections.abc import Callable

from facexfer.errors import InputError
from facexfer.files.names import clean_name

NamedPhoto = tuple[str, int]
"""Whose photo it is, and its number."""

_NUMBER = re.compile("[0-9]{1,9}")


def as_number(word: str) -> int | None:
    """Read a whole number of at most nine digits; None for any other word."""
    return int(word) if _NUMBER.fullmatch(word) else None


def read_pair_line(line: str, is_known: Callable[[NamedPhoto], bool]) -> tuple[NamedPhoto, NamedPhoto, bool]:
    """Read ``name 1 4`` (one person) or ``name 1 other 3`` (two), with tabs or spaces between the fields.

    A name may hold spaces. Where the fields are parted by spaces too, what is known decides where a name ends.

    Args:
        line: The line.
        is_known: Whether there is such a photo.

    Returns:
        The two photos, and whether the line is of the form for one person.

    Raises:
        InputError: If the line has another form, or may be read in several ways.

    Example:
        >>> read_pair_line("Jane Doe 1 Agent 47 3", lambda photo: photo[0] in ("Jane Doe", "Agent 47"))
        (('Jane Doe', 1), ('Agent 47', 3), False)
    """
    fields = [field.strip() for field in line.split("\t") if field.strip()]
    words = line.split()
    readings = _readings(fields) if len(fields) > 2 else []
    # Three or four fields are what they are: spaces within them are those of names.
    readings = readings or _readings(words)
    if not readings:
        raise InputError(
            f"expected 3 or 4 words, got {len(words)}; e.g. 'name 1 4' or 'name 1 other 3', with tabs where a name has "
            "spaces"
        )
    known = [reading for reading in readings if is_known(reading[0]) and is_known(reading[1])]
    if len(known) > 1 or (not known and len(readings) > 1):
        count = "several" if known else "no"
        raise InputError(
            f"expected photos of the set, got '{' '.join(words)[:60]}', which names them in {count} ways; part names "
            "and numbers by tabs"
        )
    return (known or readings)[0]


def _readings(words: list[str]) -> list[tuple[NamedPhoto, NamedPhoto, bool]]:
    """All orders in which names and numbers may follow each other."""
    last = as_number(words[-1]) if words else None
    if last is None:
        return []
    found = []
    for place in range(1, len(words) - 1):
        number = as_number(words[place])
        if number is None:
            continue
        name, other = (clean_name(" ".join(part)) for part in (words[:place], words[place + 1 : -1]))
        if place == len(words) - 2:
            found.append(((name, number), (name, last), True))
        else:
            found.append(((name, number), (other, last), False))
    return found
