"""A comparison that is over in seconds: a slim network on the tiny face set."""

from pathlib import Path
from typing import Any

from recipe_files import write_recipe
from small_faces import write_small_set

from facexfer.recipe import parse_recipe

_RECIPE = {
    "task": "face",
    "source": {"backbone": "mobilefacenet_slim"},
    "head": {"name": "arcface", "start": "class_means", "scale": 32.0, "margin": 0.3},
    "method": {"name": "l2"},
    "evaluation": {"fars": [0.1], "pairs": [{"probe": "nir"}], "untouched": False},
}


def write_small_grid(folder: Path, text: str, iterations: int, **runtime: Any) -> Path:
    """Write faces, a recipe and a grid whose ``{recipe}`` is that one, and give the grid's path."""
    manifest = write_small_set(folder / "faces", train=5)
    values = {
        **_RECIPE,
        "data": {"manifest": str(manifest), "modality": "nir"},
        "optimizer": {"learning_rate": 0.01, "batch_size": 8, "iterations": iterations},
        "runtime": {"accelerator": "cpu", **runtime},
    }
    recipe = write_recipe(parse_recipe(values, "test"), folder / "recipe.toml")
    (folder / "grid.toml").write_text(text.format(recipe=recipe))
    return folder / "grid.toml"
