"""The packaged recipes, each in one line: what it trains, and what it needs from its user."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from facexfer import recipes
from facexfer.files.packaged import packaged_files

# What a user sets: a path of theirs in the recipe.
_PATHS = ("data.manifest", "data.root", "companions.manifest", "pool.manifest", "source.weights")
_VARIABLE = re.compile(r"\$\{?(\w+)")


def recipe_lines() -> list[str]:
    """List the packaged recipes: those that need only your own files first.

    Returns:
        One line per recipe: its name, the first line of its opening comment, and in brackets what to set.
    """
    files = packaged_files(recipes)
    described = {name: _described(file.read_text(encoding="utf-8")) for name, file in files.items()}
    width = max(map(len, described), default=0)
    ordered = sorted(described.items(), key=lambda each: (each[1][1].startswith("needs $"), each[0]))
    return [f"{name:{width}}  {purpose} [{needs}]" for name, (purpose, needs) in ordered]


def _described(text: str) -> tuple[str, str]:
    purpose = text.partition("\n")[0].removeprefix("# ").removesuffix(".")
    return purpose, _needs(tomllib.loads(text))


def _needs(recipe: Mapping[str, Any]) -> str:
    given = {key: str(recipe.get(section, {}).get(name, "")) for key in _PATHS for section, name in [key.split(".")]}
    variables = sorted({variable for value in given.values() for variable in _VARIABLE.findall(value)})
    if variables:
        return f"needs {', '.join(f'${variable}' for variable in variables)}"
    # Weights that are no file are a pack's name, which downloads itself.
    own = [key for key, value in given.items() if value and (key != "source.weights" or PurePath(value).suffix)]
    return f"set {', '.join(own)}"
