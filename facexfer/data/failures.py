"""Photos without a crop: they take part in the evaluation as rejects, or an easy set would look good."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from facexfer.data.manifest import FaceImage
from facexfer.data.protocols import NOT_SPLIT, UNUSED
from facexfer.errors import InputError
from facexfer.files.names import clean_name
from facexfer.files.rows import read_rows, wrong_width

UNKNOWN = "(unknown)"
"""The identity of a photo that nothing tells the identity of: it belongs to no pair."""

LISTED_TWICE = "listed-twice"
"""The reason of a row whose photo has its crop in another row."""

LINK_TO_FOLDER = "link-to-folder"
"""The reason of what is no photo, and may be a folder whose photos are listed elsewhere."""

NO_ATTEMPT = (LISTED_TWICE, "not-in-protocol", LINK_TO_FOLDER)
"""Reasons of rows that are no failed attempt: they have a crop in another row, or no part in the protocol."""


@dataclass(frozen=True)
class Failure:
    """A photo that gave no crop.

    Attributes:
        identity: Who it is.
        modality: Of the photo, None if the file does not say.
        split: Of the photo, None if the file does not say.
        capture: Equal for images of one shot, None if the file does not say.
        reason: Why there is no crop.
        path: The photo's name within its set, empty if the file does not say.
    """

    identity: str
    modality: str | None = None
    split: str | None = None
    capture: str | None = None
    reason: str = ""
    path: str = field(default="", compare=False)


def read_failures(path: Path) -> tuple[Failure, ...]:
    """Read a list of failures, without the rows of nobody (`UNKNOWN`) and those that are no attempt (`NO_ATTEMPT`).

    Args:
        path: A CSV with the column ``identity`` and, as far as known, ``modality``, ``split``, ``capture``, ``reason``.

    Returns:
        One per row that counts.

    Raises:
        InputError: If the file is damaged, the column is missing, an identity is empty, or a row has too many fields.
    """
    failures = []
    for line, row, surplus in read_rows(path, ("identity",)):
        names = {key: _name(row.get(key), key, line, path) for key in ("identity", "modality", "split", "capture")}
        identity = names.pop("identity")
        if identity is None:
            raise InputError(
                f"{path}, line {line}, field identity: expected a value, got nothing; a failure that belongs to nobody "
                "cannot be counted as a reject"
            )
        if surplus > 0:
            raise wrong_width(path, line, row, surplus)
        if identity != UNKNOWN and row.get("reason") not in NO_ATTEMPT:
            failures.append(Failure(identity, **names, reason=row.get("reason", ""), path=row.get("path", "")))
    return tuple(failures)


def _name(text: str | None, column: str, line: int, path: Path) -> str | None:
    try:
        return clean_name(text or "") or None
    except InputError as error:
        raise InputError(f"{path}, line {line}, field {column}: {error}") from error


def follow_people(failures: tuple[Failure, ...], images: Iterable[FaceImage]) -> tuple[Failure, ...]:
    """Put photos that were prepared without a protocol into the split of their person, as a merge does with pictures.

    Args:
        failures: All of them.
        images: The manifest's; a person who is in several splits, or in none, moves no failure.

    Returns:
        The failures, in their order.

    Example:
        >>> vis = [FaceImage(Path("a.png"), "anna", "vis", "val")]
        >>> follow_people((Failure("anna", "vis", "all"), Failure("bert", "vis", "all")), vis)[0].split
        'val'
    """
    splits: dict[str, set[str]] = {}
    for image in images:
        if image.split != UNUSED:
            splits.setdefault(image.identity, set()).add(image.split)
    return tuple(
        replace(failure, split=next(iter(splits[failure.identity])))
        if failure.split == NOT_SPLIT and len(splits.get(failure.identity, ())) == 1
        else failure
        for failure in failures
    )


def select_failures(failures: tuple[Failure, ...], split: str | None, modality: str | None) -> tuple[Failure, ...]:
    """Keep the failures of a split and a modality; one whose file does not say belongs to every one.

    Args:
        failures: All of them.
        split: None takes all.
        modality: None takes all.

    Returns:
        The selection.
    """
    return tuple(
        failure
        for failure in failures
        if (split is None or failure.split in (None, split))
        and (modality is None or failure.modality in (None, modality))
    )
