"""Who is trained on and who is measured on: seeded draws by identity, recorded by name and fingerprint."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from facexfer.errors import InputError
from facexfer.registry import Registry

TRAIN, VAL, UNUSED = "train", "val", "unused"
NOT_SPLIT = "all"
"""The split of pictures that were prepared without a protocol."""
_POLYU_PEOPLE, _POLYU_VAL = 335, 80
_FIFTH = 5
_ONE_ENROLLED = "vis-nir-one"


@dataclass(frozen=True)
class Listed:
    """A photo as a protocol sees it.

    Attributes:
        name: Of the photo; no two photos of a person share it, or a fingerprint could not tell which is left out.
        identity: Who it is.
        modality: ``vis``, ``nir`` and the like.
        is_attempt: Whether it may have a crop of its own; a row whose photo is listed before may not, nor one that the
            set's own protocol leaves out. Such a row follows its person, and is neither drawn nor enrolled.
    """

    name: str
    identity: str
    modality: str
    is_attempt: bool = True


@dataclass(frozen=True)
class Draw:
    """One draw of a protocol.

    Attributes:
        protocol: Its name.
        number: Which draw; the seed.
        splits: ``train``, ``val`` or ``unused``, one per photo, in the order given.
        fingerprint: SHA-256 of the list of identities and their splits (and of the photos left out, where a protocol
            leaves some out), whatever the order of the photos.
    """

    protocol: str
    number: int
    splits: tuple[str, ...]
    fingerprint: str

    @property
    def name(self) -> str:
        """The draw's name, e.g. ``polyu-nirfd-0``."""
        return f"{self.protocol}-{self.number}"


Assign = Callable[[Sequence[Listed], int | None, np.random.Generator], list[str]]

PROTOCOLS: Registry[Assign] = Registry("protocol")
"""Protocol name -> what gives every photo its split."""


def draw_splits(photos: Sequence[Listed], protocol: str, number: int = 0, held_out: int | None = None) -> Draw:
    """Draw the validation identities of a protocol; nobody is in both splits.

    Args:
        photos: All photos, those without a crop too: who is drawn must not depend on what could be cropped.
        protocol: One of `PROTOCOLS`.
        number: The same number gives the same draw, in whatever order the photos come.
        held_out: Validation identities, where the protocol leaves that open; None takes a fifth.

    Returns:
        The draw.

    Raises:
        InputError: If the protocol is unknown, or does not fit the photos.

    Example:
        >>> photos = [Listed(f"{name}.png", name, "nir") for name in "abcde"]
        >>> draw_splits(photos, "identity-disjoint").splits
        ('train', 'train', 'val', 'train', 'train')
    """
    assign = PROTOCOLS[protocol]
    if number < 0:
        raise InputError(f"expected the number of a draw, got {number}; draws are 0, 1, 2 and so on")
    splits = tuple(assign(photos, held_out, np.random.default_rng(number)))
    return Draw(protocol, number, splits, _fingerprint(photos, splits))


def keep_splits(draw: Draw, photos: Sequence[Listed], earlier: Mapping[Listed, str]) -> Draw:
    """Leave everybody who already has a split in it, so that nobody who was trained on is measured on.

    New people go where the draw puts them among all people. Photos that were left out stay out; where one VIS photo of
    a person is enrolled, it stays that one, and new ones are left out.

    Args:
        draw: Of all photos, the new ones too.
        photos: These.
        earlier: The splits that photos are in already, of people who may have new ones.

    Returns:
        The draw with the splits of earlier, and the fingerprint of what it is now.

    Example:
        >>> photos = [Listed(f"{name}.png", name, "nir") for name in "abcde"]
        >>> draw = draw_splits(photos, "identity-disjoint")
        >>> keep_splits(draw, photos, {photos[2]: "train"}).splits
        ('train', 'train', 'train', 'train', 'train')
    """
    people = {photo.identity: split for photo, split in earlier.items() if photo.identity and split != UNUSED}
    splits = [
        earlier.get(photo, people.get(photo.identity, drawn)) for photo, drawn in zip(photos, draw.splits, strict=True)
    ]
    if draw.protocol == _ONE_ENROLLED:
        for places in _gallery(photos, splits).values():
            enrolled = min(places, key=lambda place: (earlier.get(photos[place]) != VAL, splits[place] != VAL))
            _enroll(splits, places, enrolled)
    return replace(draw, splits=tuple(splits), fingerprint=_fingerprint(photos, splits))


def _fingerprint(photos: Sequence[Listed], splits: Sequence[str]) -> str:
    lines = {
        f"{split}\t{photo.identity}\t{photo.name}" if split == UNUSED else f"{split}\t{photo.identity}"
        for photo, split in zip(photos, splits, strict=True)
    }
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@PROTOCOLS.register("polyu-nirfd")
def _polyu_nirfd(photos: Sequence[Listed], held_out: int | None, generator: np.random.Generator) -> list[str]:
    # AFA (2021), the experiment on PolyU-NIRFD: 80 of the 335 identities for validation. Which ones is not published.
    people = _people(photos)
    if len(people) != _POLYU_PEOPLE:
        raise InputError(
            f"expected the {_POLYU_PEOPLE} identities of PolyU-NIRFD, got {len(people)}; check --identity-regex, "
            "give facexfer split the --failures of people without a crop, or take --protocol identity-disjoint"
        )
    if held_out not in (None, _POLYU_VAL):
        raise InputError(f"expected {_POLYU_VAL} validation identities by this protocol, got {held_out}; leave it out")
    return _by_identity(photos, _drawn(people, _POLYU_VAL, generator))


@PROTOCOLS.register("identity-disjoint")
def _identity_disjoint(photos: Sequence[Listed], held_out: int | None, generator: np.random.Generator) -> list[str]:
    people = _people(photos)
    return _by_identity(photos, _drawn(people, _count(held_out, people), generator))


@PROTOCOLS.register("vis-nir")
def _vis_nir(photos: Sequence[Listed], held_out: int | None, generator: np.random.Generator) -> list[str]:
    # A VIS gallery against NIR probes: who is measured on must be there in both.
    both = sorted(set(_people(photos, "vis")) & set(_people(photos, "nir")))
    if not both:
        raise InputError("expected identities with vis and with nir photos, found none; check the modalities")
    return _by_identity(photos, _drawn(both, _count(held_out, both), generator))


@PROTOCOLS.register(_ONE_ENROLLED)
def _vis_nir_one(photos: Sequence[Listed], held_out: int | None, generator: np.random.Generator) -> list[str]:
    # As in CASIA NIR-VIS 2.0: one VIS photo of everybody in the gallery.
    splits = _vis_nir(photos, held_out, generator)
    gallery = _gallery(photos, splits)
    for identity in sorted(gallery):
        places = gallery[identity]
        _enroll(splits, places, places[int(generator.integers(len(places)))])
    return splits


def _gallery(photos: Sequence[Listed], splits: Sequence[str]) -> dict[str, list[int]]:
    """Where the VIS photos of each person that is measured on are, by name."""
    measured = {photo.identity for photo, split in zip(photos, splits, strict=True) if split == VAL}
    gallery: dict[str, list[int]] = {}
    for place, photo in sorted(enumerate(photos), key=lambda each: each[1].name):
        if photo.is_attempt and photo.modality == "vis" and photo.identity in measured:
            gallery.setdefault(photo.identity, []).append(place)
    return gallery


def _enroll(splits: list[str], places: Sequence[int], enrolled: int) -> None:
    for place in places:
        splits[place] = VAL if place == enrolled else UNUSED


def _people(photos: Sequence[Listed], modality: str | None = None) -> list[str]:
    attempts = (photo for photo in photos if photo.is_attempt and photo.identity)
    return sorted({photo.identity for photo in attempts if modality in (None, photo.modality)})


def _count(held_out: int | None, people: Sequence[str]) -> int:
    return max(1, round(len(people) / _FIFTH)) if held_out is None else held_out


def _drawn(people: Sequence[str], count: int, generator: np.random.Generator) -> set[str]:
    if not 0 < count < len(people):
        raise InputError(
            f"expected to hold out at least 1 and fewer than the {len(people)} identities, got {count}; hold out about "
            "a fifth"
        )
    return {people[place] for place in generator.permutation(len(people))[:count]}


def _by_identity(photos: Sequence[Listed], validation: set[str]) -> list[str]:
    return [VAL if photo.identity in validation else TRAIN for photo in photos]
