"""Whom a face recipe trains on, and whom it measures."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from facexfer.data.companions import match_companions
from facexfer.data.manifest import Manifest, read_manifest
from facexfer.data.pictures.depths import Depths, find_depths
from facexfer.data.splits import check_disjoint, fold_identities, limit_identities, limit_per_identity
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


@dataclass(frozen=True)
class RunImages:
    """All images that a run reads.

    Attributes:
        training: What is trained on.
        validation: What is measured on.
        source: Of the source's own training; None where the recipe names none.
        companions: As `accompanying` finds them.
        pool: Photos of anybody; None where the recipe has none.
    """

    training: Manifest
    validation: Manifest
    source: Manifest | None
    companions: tuple[Manifest, tuple[tuple[int, ...], ...]] | None
    pool: Manifest | None

    def depths(self) -> Depths:
        """Find by how many bits each camera's deep pictures are read, the same in all parts of the run."""
        # A picture of two parts counts once.
        distinct = {
            (image.path, image.modality, image.camera): image for part in self._parts() for image in part.images
        }
        return find_depths(list(distinct.values()))

    def _parts(self) -> Iterator[Manifest]:
        companions = self.companions and self.companions[0]
        yield from filter(None, (self.training, self.validation, self.source, companions, self.pool))


def run_images(recipe: Recipe, manifest: Manifest, training: Manifest, validation: Manifest) -> RunImages:
    """Choose what a recipe reads beside its training and validation images.

    Args:
        recipe: The run.
        manifest: All images.
        training: The training images.
        validation: The validation images.

    Raises:
        InputError: If a choice selects nothing, no image has a companion, or somebody who is measured is among the
            source images.
    """
    source = _source_images(recipe, manifest, validation)
    return RunImages(
        training, validation, source, accompanying(recipe, manifest, training, validation), pool_of(recipe)
    )


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


def _source_images(recipe: Recipe, manifest: Manifest, validation: Manifest) -> Manifest | None:
    """Choose the source images; nobody who is measured is among them, also where training identities are held out."""
    chosen = recipe.source_data
    if chosen is None:
        return None
    images = manifest if chosen.manifest is None else read_manifest(chosen.manifest)
    images = images.select(split=chosen.split, modality=chosen.modality)
    if chosen.manifest is None:
        images = images.select(identities=set(images.identities) - set(validation.identities))
    check_disjoint(images, validation)
    return images
