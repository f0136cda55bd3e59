"""Which pairs of the held-out people can be measured, and down to which false accept rates."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from facexfer.data.manifest import FaceImage, Manifest
from facexfer.errors import InputError
from facexfer.recipe import PairsSection

_FARS = (1e-2, 1e-3, 1e-4)
# So few impostor pairs support the coarsest of the targets no more, and a tenth is the last resort.
_COARSEST = 0.1


@dataclass(frozen=True)
class Measurable:
    """What an evaluation of a run can ask.

    Attributes:
        pairs: The comparisons, the most telling first.
        impostor_pairs: Of the first.
        fars: The false accept rates that these support.
    """

    pairs: tuple[PairsSection, ...]
    impostor_pairs: int
    fars: tuple[float, ...]


def measurable_pairs(validation: Manifest, modalities: Sequence[str]) -> Measurable:
    """Find which comparisons have genuine and impostor pairs.

    Args:
        validation: The images of the held-out people.
        modalities: The new spectrum and the source's own, or the latter alone.

    Returns:
        Within the new spectrum, across the two, and within the source's own, as far as there are pairs.

    Raises:
        InputError: If there are none, or too few to measure anything.
    """
    of = {name: [image for image in validation.images if image.modality == name] for name in modalities}
    counts = {}
    for name in modalities:
        counts[PairsSection(probe=name)] = _within(of[name])
    if len(modalities) > 1:
        probe, gallery = modalities
        counts[PairsSection(gallery=gallery, probe=probe)] = _across(of[gallery], of[probe])
    # As the tables have them: within the new one, across, within the source's own.
    ordered = sorted(counts, key=lambda pairs: (pairs.probe != modalities[0], pairs.gallery is not None))
    found = [pairs for pairs in ordered if counts[pairs][0] and counts[pairs][1] * _COARSEST >= 1]
    if not found:
        raise InputError(
            f"{validation.path}: expected held-out people with pairs to measure (two pictures or more of some, ten "
            f"impostor pairs), got {len(validation.identities)} people with {len(validation.images)} pictures; "
            "hold out more"
        )
    impostors = counts[found[0]][1]
    return Measurable(tuple(found), impostors, tuple(far for far in _FARS if far * impostors >= 1) or (_COARSEST,))


def _within(images: Sequence[FaceImage]) -> tuple[int, int]:
    """Count genuine pairs, those of one shot left out, and impostor pairs."""
    people = Counter(image.identity for image in images)
    shots = Counter((image.identity, image.capture) for image in images if image.capture is not None)
    same = sum(_two(count) for count in people.values())
    return same - sum(_two(count) for count in shots.values()), _two(len(images)) - same


def _across(gallery: Sequence[FaceImage], probe: Sequence[FaceImage]) -> tuple[int, int]:
    """Count genuine and impostor pairs, those of one capture left out, whoever it shows."""

    def meeting(key: Callable[[FaceImage], Hashable]) -> int:
        first, second = (Counter(map(key, side)) for side in (gallery, probe))
        return sum(count * second[name] for name, count in first.items() if name is not None)

    same, of_capture, both = (
        meeting(key) for key in (lambda image: image.identity, lambda image: image.capture, _person_and_capture)
    )
    return same - both, len(gallery) * len(probe) - same - (of_capture - both)


def _person_and_capture(image: FaceImage) -> tuple[str, str] | None:
    return None if image.capture is None else (image.identity, image.capture)


def _two(count: int) -> int:
    return count * (count - 1) // 2
