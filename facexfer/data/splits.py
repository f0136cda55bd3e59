"""Who is trained on and who is measured: the checks of that, and fewer images of each."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from facexfer.data.manifest import FaceImage, Manifest
from facexfer.errors import InputError

_SHOWN = 5


def check_disjoint(training: Manifest, validation: Manifest) -> None:
    """Check that nobody is in both sets.

    Args:
        training: What is trained on.
        validation: What is measured on.

    Raises:
        InputError: If an identity is in both; the error counts them and names some.
    """
    shared = sorted(set(training.identities) & set(validation.identities))
    if shared:
        more = ", ..." if len(shared) > _SHOWN else ""
        raise InputError(
            f"{training.path}: expected disjoint identities in training and validation, {len(shared)} are in both: "
            f"{', '.join(shared[:_SHOWN])}{more}; split by identity, not by image"
        )


def check_trainable(training: Manifest) -> None:
    """Check that a classifier can be trained.

    Args:
        training: What is trained on.

    Raises:
        InputError: If there is one image only, or one identity only.
    """
    if len(training.images) < 2:
        raise InputError(
            f"{training.path}: expected at least 2 training images, got {len(training.images)}; add photos"
        )
    if len(training.identities) < 2:
        raise InputError(
            f"{training.path}: expected at least 2 training identities, got only '{training.identities[0]}'; a "
            "classifier needs at least two people"
        )


def fold_identities(manifest: Manifest, folds: int, fold: int, seed: int) -> set[str]:
    """The identities of one fold of a cross-validation: every identity is in one fold, and the folds are of one size.

    Args:
        manifest: The images.
        folds: How many folds there are.
        fold: Which one, from 1.
        seed: Of the draw; the same seed and identities give the same folds, in whatever order they are listed.

    Returns:
        The names of its identities.

    Raises:
        InputError: If a fold would have fewer than two identities, or there is no such fold.
    """
    names = sorted(set(manifest.identities))
    if len(names) < 2 * folds:
        raise InputError(
            f"{manifest.path}: expected at least 2 identities per fold, got {len(names)} for data.folds = {folds}; "
            "lower it"
        )
    if not 1 <= fold <= folds:
        raise InputError(f"expected data.fold from 1 to data.folds = {folds}, got {fold}; choose one of them")
    order = np.random.default_rng(seed).permutation(len(names))
    return {names[index] for index in order[fold - 1 :: folds]}


def limit_identities(manifest: Manifest, count: int, seed: int) -> Manifest:
    """Keep the images of ``count`` identities, drawn by ``seed``; more of them keep those of fewer.

    Args:
        manifest: The images.
        count: How many identities stay.
        seed: Of the draw; the same seed and identities give the same choice, in whatever order they are listed.

    Returns:
        The smaller manifest, in its old order.

    Raises:
        InputError: If there are fewer identities than that.
    """
    names = sorted(set(manifest.identities))
    if count > len(names):
        raise InputError(
            f"{manifest.path}: expected data.train_identities of at most {len(names)}, the number of training "
            f"identities, got {count}; lower it, or leave it out for all"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    return manifest.select(identities={names[index] for index in order[:count]})


def limit_per_identity(manifest: Manifest, count: int, seed: int) -> Manifest:
    """Keep at most ``count`` images of every identity in every modality, drawn by ``seed``.

    One draw serves all modalities of a person, so that pictures of one shot are kept together. Of a person with equally
    many pictures in each modality, those at one place in the order of their paths are of one shot, unless captures say
    otherwise. Of others, those of one capture are, or without a capture those at one place; shots that are in all
    modalities are kept first.

    Args:
        manifest: The images.
        count: The most that stay of one identity in one modality.
        seed: Of the draw; the same seed and images give the same choice, in whatever order they are listed.

    Returns:
        The smaller manifest, in its old order.
    """
    of_identity: dict[str, dict[str, list[FaceImage]]] = {}
    for image in sorted(manifest.images, key=lambda image: str(image.path)):
        of_identity.setdefault(image.identity, {}).setdefault(image.modality, []).append(image)
    generator = np.random.default_rng(seed)
    kept = set()
    for identity in sorted(of_identity):
        by_modality = _by_shot(list(of_identity[identity].values()))
        shots = sorted(set().union(*by_modality))
        drawn = [shots[place] for place in generator.permutation(len(shots))]
        drawn.sort(key=lambda shot: sum(shot not in images for images in by_modality))
        for images in by_modality:
            kept |= {id(images[shot]) for shot in [shot for shot in drawn if shot in images][:count]}
    return Manifest(manifest.path, tuple(image for image in manifest.images if id(image) in kept))


def _by_shot(by_modality: list[list[FaceImage]]) -> list[dict[tuple[str, int], FaceImage]]:
    """Name the shots of one person's pictures in each modality; a name is a capture and a place among its pictures."""
    by_place = len({len(images) for images in by_modality}) == 1 and all(
        map(_may_be_one_shot, zip(*by_modality, strict=True))
    )
    named = []
    for images in by_modality:
        seen: Counter[str] = Counter()
        of_shot = {}
        for image in images:
            capture = "" if by_place or image.capture is None else image.capture
            of_shot[capture, seen[capture]] = image
            seen[capture] += 1
        named.append(of_shot)
    return named


def _may_be_one_shot(images: Sequence[FaceImage]) -> bool:
    return len({image.capture for image in images} - {None}) <= 1
