"""The images that a run is shown on."""

from pathlib import Path

import numpy as np

from facexfer.backbones.parts.info import BackboneModule
from facexfer.errors import InputError
from facexfer.plugins import load_plugins
from facexfer.recipe import Recipe, read_recipe
from facexfer.runs.folder import RunFolder
from facexfer.tasks import TASKS


def finished_recipe(run: Path) -> Recipe:
    """Read the recipe of a finished run, and run its plugins: the names in it are known from then on.

    Raises:
        InputError: If the folder holds no finished run, or a plugin is missing or raises an error.
    """
    folder = RunFolder(run)
    if not folder.finished:
        raise InputError(f"{run}: expected a finished run, found none; finish it with --resume")
    recipe = read_recipe(folder.recipe_file)
    load_plugins(recipe.plugins)
    return recipe


def choose_images(recipe: Recipe, source: BackboneModule, count: int) -> np.ndarray:
    """Choose test images of a run, evenly spread over the set and so over its classes.

    Args:
        recipe: The run's.
        source: The run's network or its source, whose input size the images have.
        count: How many.

    Returns:
        (count, H, W, 3) uint8, RGB, as the network is given them.

    Raises:
        InputError: If there are fewer, or one cannot be read.
    """
    pictures = TASKS[recipe.task](recipe, source.info).test_set
    available = 0 if pictures is None else len(pictures)
    if pictures is None or available < count:
        raise InputError(f"expected at least {count} test pictures, the run has {available}; lower --pictures")
    rows = [(2 * index + 1) * available // (2 * count) for index in range(count)]
    return np.stack([pictures[row][0].permute(1, 2, 0).numpy() for row in rows])
