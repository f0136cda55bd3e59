"""Labels and captures from any source, brought into one form in which equal means the same."""

from collections.abc import Hashable, Sequence

import numpy as np

from facexfer.errors import InputError
from facexfer.files.names import clean_name

_EXACT = 2**53


def read_labels(labels: np.ndarray, length: int, what: str = "labels") -> np.ndarray:
    """Check labels and bring them into one form.

    Whole numbers stay exact, of whatever width and sign, also where they are stored as floats; text is the one form of
    a name (`facexfer.files.names.clean_name`), also where it is stored as bytes.

    Args:
        labels: (N,) whole numbers or text, equal for one person.
        length: N.
        what: What to call them in errors.

    Returns:
        (N,) of int64, of Python's integers where int64 does not hold them, or of text.

    Raises:
        InputError: If the shape does not fit, a label is missing (None, NaN or empty text), or they are of another
            kind or of several.

    Example:
        >>> read_labels(np.array([1.0, 2.0]), 2).tolist()
        [1, 2]
        >>> read_labels(np.array([b"p1 ", "p1"], dtype=object), 2).tolist()
        ['p1', 'p1']
    """
    array = np.asarray(labels)
    if array.shape != (length,):
        raise InputError(f"expected {what} of shape ({length},), got {array.shape}; give one per embedding")
    kind = array.dtype.kind
    if kind == "i":
        return array.astype(np.int64, copy=False)
    if kind in "mM":
        raise InputError(f"expected {what} as whole numbers or text, got {array.dtype}; save them as text")
    if kind == "T":
        array = array.astype(object)
    missing = _missing(array)
    if missing.any():
        raise InputError(
            f"expected {what} without {'NaN' if kind == 'f' else 'gaps'}, got {int(missing.sum())}, the first at "
            f"{int(missing.argmax())}; an image without an identity forms no pairs; leave it out"
        )
    # Each different label is looked at once.
    values, places = _distinct(array)
    forms = [_form(value, what) for value in values]
    kinds = {type(form) for form in forms}
    if len(kinds) > 1:
        raise InputError(
            f"expected {what} all whole numbers or all text, got both, {_example(forms, int)} and "
            f"{_example(forms, str)}; use one kind for all"
        )
    if kinds <= {str}:
        clean = np.array(forms, dtype=str)
    else:
        fits = all(isinstance(form, int) and -(2**63) <= form < 2**63 for form in forms)
        clean = np.array(forms, dtype=np.int64 if fits else object)
    given: np.ndarray = clean[places]
    return given


def join_labels(
    first: tuple[np.ndarray, int, str], second: tuple[np.ndarray, int, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Number the people of two sources together.

    Args:
        first: Labels (N,), N, and what to call them, as `read_labels` takes them.
        second: Labels (M,), M, and what to call them.

    Returns:
        (N,) and (M,) int64, equal for one person, in the order of the labels.

    Raises:
        InputError: As for `read_labels`, or if one source has numbers and the other text: 7 may be "7" or "07".

    Example:
        >>> gallery, probe = np.array([2**60, 2**60 + 1]), np.array([2**60 + 1], dtype=np.uint64)
        >>> [codes.tolist() for codes in join_labels((gallery, 2, "gallery labels"), (probe, 1, "probe labels"))]
        [[0, 1], [1]]
    """
    ours, theirs = read_labels(*first), read_labels(*second)
    if len(ours) and len(theirs) and (ours.dtype.kind == "U") != (theirs.dtype.kind == "U"):
        shown = " and ".join(
            f"{what} of {'text' if each.dtype.kind == 'U' else 'numbers'} such as {each[0]!s}"
            for each, what in ((ours, first[2]), (theirs, second[2]))
        )
        raise InputError(
            f"expected both labels as numbers or both as text, got {shown}; save both as text, written alike"
        )
    our_names, our_places = np.unique(ours, return_inverse=True)
    their_names, their_places = np.unique(theirs, return_inverse=True)
    everybody = sorted({*our_names.tolist(), *their_names.tolist()})
    code_of = {name: code for code, name in enumerate(everybody)}
    our_codes, their_codes = (
        np.array([code_of[name] for name in names.tolist()], dtype=np.int64) for names in (our_names, their_names)
    )
    return our_codes[our_places], their_codes[their_places]


def read_captures(captures: Sequence[object] | np.ndarray | None, length: int) -> list[Hashable]:
    """Bring captures into the form of labels; None, NaN and empty text are no capture.

    Args:
        captures: (N,); None without any capture.
        length: N.

    Returns:
        N names or whole numbers, or None.

    Raises:
        InputError: If there are not as many as embeddings, or one is of another kind.
    """
    if captures is None:
        return [None] * length
    if len(captures) != length:
        raise InputError(f"expected {length} captures, got {len(captures)}; give one per embedding, or None")
    array = np.asarray(captures, dtype=object)
    there = ~_missing(array)
    shots: list[Hashable] = [None] * length
    for place, shot in zip(np.flatnonzero(there), read_labels(array[there], int(there.sum()), "captures"), strict=True):
        shots[place] = shot.item() if isinstance(shot, np.generic) else shot
    return shots


def _missing(array: np.ndarray) -> np.ndarray:
    """Mark missing labels: NaN, None or empty text."""
    if array.dtype.kind == "f":
        return np.asarray(np.isnan(array))
    if array.dtype.kind in "US":
        return np.asarray(np.char.str_len(np.char.strip(array)) == 0)
    if array.dtype.kind != "O":
        return np.zeros(array.shape, dtype=bool)
    return np.array([_is_missing(value) for value in array.ravel()], dtype=bool).reshape(array.shape)


def _is_missing(value: object) -> bool:
    if isinstance(value, str | bytes):
        return not value.strip()
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def _distinct(array: np.ndarray) -> tuple[list[object], np.ndarray]:
    """The distinct labels and where each occurs, without comparing labels of different kinds."""
    if array.dtype.kind != "O":
        values, places = np.unique(array, return_inverse=True)
        return values.tolist(), places
    codes: dict[tuple[type, object], int] = {}
    try:
        places = np.array([codes.setdefault((type(value), value), len(codes)) for value in array], dtype=np.int64)
    except TypeError as error:
        raise InputError(f"expected labels as whole numbers or text, got {error}; give one label per image") from error
    return [value for _, value in codes], places


def _form(value: object, what: str) -> int | str:
    """The canonical form of one label."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"expected {what} as text in UTF-8, got {value!r}; save them as str") from error
    if isinstance(value, str):
        name = clean_name(value)
        if not name:
            raise InputError(f"expected non-empty {what}, got {value!a}; fill it in")
        return name
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    why = "floats hold whole numbers up to 2^53 only, " if isinstance(value, float) else ""
    raise InputError(f"expected {what} as whole numbers or text, got {value!r}; {why}save them as integers or as text")


def _example(forms: Sequence[int | str], kind: type) -> str:
    return repr(next(form for form in forms if isinstance(form, kind)))
