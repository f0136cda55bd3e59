"""Whom a face recipe trains on, and whom it measures."""

import numpy as np

from facexfer.data.companions import match_companions
from facexfer.data.manifest import Manifest, read_manifest
from facexfer.data.splits import fold_identities, limit_identities, limit_per_identity
from facexfer.errors import InputError
from facexfer.recipe import DataSection, Recipe


def training_and_validation(manifest: Manifest, data: DataSection) -> tuple[Manifest, Manifest]:
    """Choose the training images, and the validation images of other identities in every modality.

    With `folds`, one fold of the training split's identities is for validation and the others for training. With
    `search_identities`, the validation identities are drawn from those that are trained on, so that searching options
    never sees the validation images. Both draw from people with images of the chosen modality.

    Args:
        manifest: All images.
        data: The recipe's choice.

    Returns:
        Training images (of the chosen modality) and validation images (of all modalities).

    Raises:
        InputError: If a choice selects nothing, or more identities are held out than there are.
    """
    training_split = manifest.select(split=data.train_split)
    if (data.fold is None) != (data.folds is None):
        raise InputError("expected both data.folds and data.fold, got one; give the other")
    if data.fold is not None and data.folds is not None:
        held_out = fold_identities(_shown(training_split, data), data.folds, data.fold, data.draw_seed)
        validation = training_split.select(identities=held_out)
        training_split = training_split.select(identities=set(training_split.identities) - held_out)
    elif data.search_identities == 0:
        validation = manifest.select(split=data.val_split)
    training = training_split
    if data.search_identities > 0:
        names = _shown(training_split, data).identities
        if data.search_identities >= len(names):
            raise InputError(
                f"expected to hold out fewer than the {len(names)} training identities, got search_identities = "
                f"{data.search_identities}; hold out about a fifth"
            )
        order = np.random.default_rng(data.draw_seed).permutation(len(names))
        held_out = {names[index] for index in order[: data.search_identities]}
        validation = training_split.select(identities=held_out)
        training = training_split.select(identities=set(training_split.identities) - held_out)
    training = training.select(modality=data.modality)
    if data.train_identities is not None:
        training = limit_identities(training, data.train_identities, data.draw_seed)
    if data.images_per_identity is not None:
        training = limit_per_identity(training, data.images_per_identity, data.draw_seed)
    return training, validation


def _shown(images: Manifest, data: DataSection) -> Manifest:
    """Images of the trained modality; people without one would show nothing of what was learned."""
    return images.select(modality=data.modality)


def validation_images(manifest: Manifest, data: DataSection) -> Manifest:
    """Choose the validation images as `training_and_validation` does; a split needs no training image beside it.

    Args:
        manifest: All images.
        data: The recipe's choice.

    Returns:
        Images of all modalities.

    Raises:
        InputError: If it selects nothing, or more identities are held out than there are.
    """
    if data.folds is None and data.search_identities == 0:
        return manifest.select(split=data.val_split)
    return training_and_validation(manifest, data)[1]


def accompanying(
    recipe: Recipe, manifest: Manifest, training: Manifest, validation: Manifest
) -> tuple[Manifest, tuple[tuple[int, ...], ...]] | None:
    """Choose the companions of the training images, of nobody who is measured.

    Args:
        recipe: The run.
        manifest: All images.
        training: The training images.
        validation: The validation images.

    Returns:
        The companions, and for every training image their places among them; None where a recipe names none, or each
        image accompanies itself.

    Raises:
        InputError: If no image has a companion.
    """
    chosen = recipe.companions
    if chosen is None or chosen.match == "simulated":
        return None
    candidates = manifest if chosen.manifest is None else read_manifest(chosen.manifest)
    candidates = candidates.select(modality=chosen.modality)
    candidates = candidates.select(identities=set(candidates.identities) - set(validation.identities))
    images, of_image = match_companions(training, candidates, by_capture=chosen.match == "capture")
    return Manifest(candidates.path, images), of_image


def pool_of(recipe: Recipe) -> Manifest | None:
    """Choose the photos of a recipe's pool; None where it has none."""
    if recipe.pool is None:
        return None
    return read_manifest(recipe.pool.manifest).select(split=recipe.pool.split, modality=recipe.pool.modality)


def images_of_each(data: DataSection) -> float:
    """How many images a recipe trains on of each person in each modality, on average: see `images_per_identity`.

    Args:
        data: The recipe's choice of faces.

    Raises:
        InputError: As `training_size`.
    """
    training = _training(data)
    return len(training.images) / len({(image.identity, image.modality) for image in training.images})


def training_size(data: DataSection) -> tuple[int, float]:
    """How many people a recipe trains on, and how many images of each on average.

    Args:
        data: The recipe's choice of faces.

    Returns:
        People, and images per person over the modalities that are trained on.

    Raises:
        InputError: If there is no manifest, or a choice selects nothing.
    """
    training = _training(data)
    people = len(training.identities)
    return people, len(training.images) / people


def _training(data: DataSection) -> Manifest:
    if data.manifest is None:
        raise InputError("expected data.manifest in a face recipe, got none; name the CSV of the crops")
    return training_and_validation(read_manifest(data.manifest), data)[0]
