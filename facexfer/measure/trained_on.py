"""Whom a model was trained on: figures of these people say nothing of strangers."""

import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from facexfer.data.manifest import FaceImage, read_manifest
from facexfer.errors import DataWarning, InputError
from facexfer.measure.embedder import Model, path_of
from facexfer.recipe import Recipe, parse_recipe, read_recipe
from facexfer.runs.face_images import pool_of, training_and_validation
from facexfer.runs.folder import RunFolder


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
    recipe = None if path is None else _recipe_of(path)
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


def _recipe_of(path: Path) -> Recipe | None:
    """The recipe that a run folder, a file in one, or a bundle names; None where there is none."""
    try:
        for folder in (path, path.parent):
            if (folder / "model.json").is_file():
                content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
                is_trained = folder == path or path.name in _trained_files(content)
                return parse_recipe(content["recipe"], str(folder)) if is_trained else None
        # Checkpoints lie one folder deeper.
        for folder in (path, path.parent, path.parent.parent):
            if RunFolder(folder).recipe_file.is_file():
                return read_recipe(RunFolder(folder).recipe_file)
    except (InputError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return None


def _trained_files(content: dict[str, Any]) -> set[str]:
    """The files of a bundle that hold the run's network; a gallery's network and a detector are others."""
    return {"model.onnx", *(file["name"] for entry in content.get("runtimes", ()) for file in entry["files"])}


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
