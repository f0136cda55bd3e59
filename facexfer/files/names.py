"""What the text of a name may be, wherever names are compared: identities, modalities, splits and captures."""

import unicodedata
from functools import lru_cache

from facexfer.errors import InputError

# Control characters, surrogates (bytes that are no text), and breaks of lines and paragraphs.
_REFUSED = ("Cc", "Cs", "Zl", "Zp")


@lru_cache(maxsize=1 << 16)
def clean_name(text: str) -> str:
    """Normalize a name, so that what a person reads as one name is one.

    Unicode's composed form (NFC: macOS writes an accent as a separate character), without characters that cannot be
    seen (zero width, byte order marks), with one space for every run of white space (no-break spaces and tabs too) and
    none around the name. Capitals, leading zeros and wide digits stay: ``P1`` and ``p1``, ``7`` and ``07`` are two.

    Args:
        text: As it was found.

    Returns:
        The name; empty if there is nothing to be seen in it.

    Raises:
        InputError: If a line break or another control character is in the name, or bytes that are no text.

    Example:
        >>> clean_name(" Jose\u0301\u00a0 Luis ") == "Jos\u00e9 Luis"
        True
        >>> clean_name("7") == clean_name("07")
        False
    """
    text = text.strip(" \t\r\n")
    odd = next((mark for mark in text if mark != "\t" and unicodedata.category(mark) in _REFUSED), None)
    if odd is not None:
        raise InputError(
            f"expected a name on one line, got U+{ord(odd):04X} in {text[:60]!a}; write the name without it"
        )
    seen = "".join(mark for mark in text if unicodedata.category(mark) != "Cf")
    return unicodedata.normalize("NFC", " ".join(seen.split()))


def shown_name(text: str) -> str:
    """Write the name of a folder or the like in one line, also where it is no name.

    Args:
        text: As it was found.

    Returns:
        As `clean_name` has it; else escaped.

    Example:
        >>> print(shown_name(" anna "), shown_name("anna" + chr(10) + "b"))
        anna anna\\nb
    """
    try:
        name = clean_name(text)
    except InputError:
        name = ""
    return name or ascii(text)[1:-1]


def likeness(name: str) -> str:
    """The form shared by names that differ only in capitals or in the width of letters, such as ``P1`` and ``p1``.

    Example:
        >>> likeness("P\uff11") == likeness("p1")
        True
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
