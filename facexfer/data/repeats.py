"""One picture listed twice: it is one picture, and its pair with itself is no evidence."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from facexfer.data.manifest import FaceImage, Manifest
from facexfer.errors import DataWarning, InputError

_MOST_IDENTITIES = 100


@dataclass(frozen=True)
class DistinctImages:
    """Images of a manifest, each picture of a person once.

    Attributes:
        kept: Places of these images among all that were listed.
        places: For every listed image, the place of its picture among those kept.
        pictures: For each image kept, what equal pictures share, under whatever name.
        shots: For each image kept, what images of one shot, person and modality share; None without a capture.
    """

    kept: tuple[int, ...]
    places: tuple[int, ...]
    pictures: tuple[str, ...]
    shots: tuple[Hashable | None, ...]

    @property
    def repeated(self) -> int:
        """How many listed images are left out, because their picture is listed already."""
        return len(self.places) - len(self.kept)


def hash_picture(crop: np.ndarray) -> str:
    """Hash what a picture shows, whatever its file is called or how it is stored (BLAKE2, hex).

    Args:
        crop: (H, W, 3) uint8 RGB.
    """
    return hashlib.blake2b(np.ascontiguousarray(crop).tobytes(), digest_size=16).hexdigest()


def distinct_images(images: Manifest, pictures: Sequence[str]) -> DistinctImages:
    """Keep each picture of a person in a modality once: listed again, by the same name or another, it adds nothing.

    Args:
        images: What is listed.
        pictures: `hash_picture` of each.

    Returns:
        What is kept.

    Raises:
        InputError: If a picture is under more than 100 identities: then the crops are broken.

    Warns:
        DataWarning: How many are listed again; how many pairs show one picture under two identities, or one shot.
    """
    first: dict[tuple[str, str, str], int] = {}
    kept: list[int] = []
    places: list[int] = []
    for place, (image, picture) in enumerate(zip(images.images, pictures, strict=True)):
        at = first.setdefault((picture, image.identity, image.modality), len(kept))
        if at == len(kept):
            kept.append(place)
        places.append(at)
    chosen = [images.images[place] for place in kept]
    shots = tuple(None if each.capture is None else (each.identity, each.modality, each.capture) for each in chosen)
    distinct = DistinctImages(tuple(kept), tuple(places), tuple(pictures[place] for place in kept), shots)
    if distinct.repeated:
        again = next(image for place, image in enumerate(images.images) if kept[places[place]] != place)
        _say(
            f"{images.path}: {distinct.repeated} of {len(places)} images are pictures listed before, such as "
            f"{again.path.name} of '{again.identity}'; each counts once"
        )
    say_contradictions(images, pictures)
    pairs = sum(count * (count - 1) // 2 for shot, count in Counter(shots).items() if shot is not None)
    if pairs:
        _say(f"{images.path}: {pairs} pairs of one person show one shot in one modality; they are left out")
    return distinct


def say_repeats(images: Manifest, pictures: Sequence[str]) -> None:
    """Warn of training images whose picture is listed before, and of pictures under two identities.

    Args:
        images: What is trained on.
        pictures: `hash_picture` of each.

    Raises:
        InputError: If a picture is under more than 100 identities.
    """
    shown = {(picture, image.identity) for picture, image in zip(pictures, images.images, strict=True)}
    if len(shown) < len(pictures):
        _say(
            f"{images.path}: {len(pictures) - len(shown)} of {len(pictures)} training images are pictures listed "
            "before; they are trained on as often as they are listed"
        )
    say_contradictions(images, pictures)


def say_contradictions(images: Manifest, pictures: Sequence[str]) -> None:
    """Warn of pictures that are listed under two identities.

    Args:
        images: What is listed.
        pictures: `hash_picture` of each.

    Raises:
        InputError: If a picture is under more than 100 identities.
    """
    people: dict[str, dict[str, FaceImage]] = {}
    for image, picture in zip(images.images, pictures, strict=True):
        people.setdefault(picture, {}).setdefault(image.identity, image)
    double = [list(each.values()) for each in people.values() if len(each) > 1]
    if not double:
        return
    one, other, *rest = max(double, key=len)
    if len(rest) + 2 > _MOST_IDENTITIES:
        raise InputError(
            f"{images.path}: expected pictures of people, one picture is under {len(rest) + 2} identities, such as "
            f"{one.path.name}; are the crops blank?"
        )
    one, other, *_ = double[0]
    _say(
        f"{images.path}: {len(double)} pictures are listed under two identities, such as {one.path.name} of "
        f"'{one.identity}' and {other.path.name} of '{other.identity}'; no pair of a picture with itself counts, fix "
        "the manifest"
    )


def check_pictures_apart(
    training: Manifest, training_pictures: Sequence[str], validation: Manifest, validation_pictures: Sequence[str]
) -> None:
    """Check that no picture is in both sets, whatever its file and its identity are called.

    Args:
        training: What is trained on.
        training_pictures: `hash_picture` of each.
        validation: What is measured on.
        validation_pictures: Likewise.

    Raises:
        InputError: If one is; the error counts them and names one.
    """
    measured = dict(zip(validation_pictures, validation.images, strict=True))
    both = [
        (image, measured[picture])
        for image, picture in zip(training.images, training_pictures, strict=True)
        if picture in measured
    ]
    if both:
        one, other = both[0]
        raise InputError(
            f"{training.path}: expected disjoint pictures in training and validation, {len(both)} are in both, such as "
            f"{one.path.name} of '{one.identity}', which is {other.path.name} of '{other.identity}'; take one out"
        )


def _say(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=3)
