"""Recipes as files, for what tests start by command."""

from pathlib import Path

from facexfer.recipe import Recipe, dump_recipe
from facexfer.tasks.keys import idle_keys


def write_recipe(recipe: Recipe, path: Path) -> Path:
    """Write a recipe without the keys that its task does not read, and give the path."""
    path.write_text(dump_recipe(recipe, idle_keys(recipe.task)))
    return path
