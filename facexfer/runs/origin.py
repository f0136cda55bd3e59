"""What lies behind a model: the recipe that it was trained by, and the files that no command may write over."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facexfer.backbones.sources import weight_files
from facexfer.errors import InputError
from facexfer.recipe import Recipe, parse_recipe, read_recipe
from facexfer.runs.folder import RunFolder


def recipe_of(path: Path) -> Recipe | None:
    """Find the recipe that a model was trained by.

    Args:
        path: A run folder, a file in one, a bundle, or the file of the run's network in one.

    Returns:
        The recipe; None where there is none, or it cannot be read.
    """
    try:
        for folder in (path, path.parent):
            if (folder / "model.json").is_file():
                content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
                is_trained = folder == path or path.name in _trained_files(content)
                return parse_recipe(content["recipe"], str(folder)) if is_trained else None
        run = _run_of(path)
        return None if run is None else read_recipe(run.recipe_file)
    except (InputError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def files_behind(model: Path) -> list[Path]:
    """List the files that a model consists of, and those that its run was trained from.

    Args:
        model: A run folder, a file in one, a bundle, or weights from any model.

    Returns:
        They need not be there. Pictures are left out.
    """
    run, recipe = _run_of(model), recipe_of(model)
    own = [model / "model.json", *RunFolder(model).own_files] if model.is_dir() else weight_files(str(model))
    kept = [] if run is None else [*run.own_files, *run.path.rglob("*.safetensors")]
    return [*own, *kept, *([] if recipe is None else files_of(recipe))]


def files_of(recipe: Recipe) -> list[Path]:
    """List the files that a recipe names: weights, manifests and plugins.

    Args:
        recipe: The run.

    Returns:
        They need not be there.
    """
    weights = [] if recipe.source.weights is None else weight_files(str(recipe.source.weights))
    return [*weights, *_manifests(recipe), *recipe.plugins]


def _run_of(path: Path) -> RunFolder | None:
    # Checkpoints lie one folder deeper.
    found = (RunFolder(folder) for folder in (path, path.parent, path.parent.parent))
    return next((run for run in found if run.recipe_file.is_file()), None)


def _manifests(recipe: Recipe) -> Iterator[Path]:
    for section in (recipe.data, recipe.source_data, recipe.companions, recipe.pool):
        if section is not None and section.manifest is not None:
            yield section.manifest


def _trained_files(content: dict[str, Any]) -> set[str]:
    """The files of a bundle that hold the run's network; a gallery's network and a detector are others."""
    return {"model.onnx", *(file["name"] for entry in content.get("runtimes", ()) for file in entry["files"])}
