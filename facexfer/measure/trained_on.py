"""Whom a model was trained on: figures of these people say nothing of strangers."""

import os
import warnings
from collections.abc import Iterable

from facexfer.data.manifest import FaceImage, read_manifest
from facexfer.errors import DataWarning, InputError
from facexfer.measure.embedder import Model, path_of
from facexfer.recipe import Recipe
from facexfer.runs.face_images import pool_of, training_and_validation
from facexfer.runs.origin import recipe_of


def trained_people(model: Model | None, images: Iterable[FaceImage]) -> tuple[int, str]:
    """Count the people whose pictures a run was trained on, or other pictures of whom.

    Pictures are told by their place, so that equal names in two sets are two people.

    Args:
        model: As for `facexfer.load`; a run, a file in one, or a bundle tells its recipe, also once it is open.
        images: Those that are measured.

    Returns:
        How many of the images' people were trained on, and the split that the run held out, empty where it did not
        choose by split. 0 where nothing is known: the model is of no run, or its run's pictures are not here.
    """
    path = path_of(model)
    recipe = None if path is None else recipe_of(path)
    if recipe is None or recipe.data.manifest is None:
        return 0, ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            seen = _pictures(recipe)
    except (InputError, OSError):
        return 0, ""
    places = _Places()
    people = {image.identity or str(image.path) for image in images if places.of(image) in seen}
    by_split = recipe.data.folds is None and recipe.data.search_identities == 0
    return len(people), recipe.data.val_split if by_split else ""


def _pictures(recipe: Recipe) -> set[str]:
    assert recipe.data.manifest is not None
    manifest = read_manifest(recipe.data.manifest)
    people = set(training_and_validation(manifest, recipe.data)[0].identities)
    images = [image for image in manifest.images if image.identity in people]
    companions = recipe.companions
    if companions is not None and companions.manifest is not None:
        images += [image for image in read_manifest(companions.manifest).images if image.identity in people]
    pool = pool_of(recipe)
    places = _Places()
    return {places.of(image) for image in (*images, *(() if pool is None else pool.images))}


class _Places:
    """Where pictures lie, whatever links lead there; a folder is looked up once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, image: FaceImage) -> str:
        folder, name = os.path.split(image.path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return f"{self._folders[folder]}{os.sep}{name}"
