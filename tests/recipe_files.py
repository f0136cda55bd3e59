"""Recipes as files, for what tests start by command."""

from facexfer.recipe import dump_recipe
from facexfer.tasks.keys import idle_keys


def write_recipe(recipe, path):
    """Write a recipe without the keys that its task does not read, and give the path."""
    path.write_text(dump_recipe(recipe, idle_keys(recipe.task)))
    return path
