"""Runs side by side: in what their recipes differ, how far they came, and what they measured."""

from dataclasses import dataclass
from pathlib import Path

from facexfer.errors import InputError
from facexfer.recipe import Recipe, differences, read_recipe
from facexfer.runs.folder import RunFolder


@dataclass(frozen=True)
class ListedRun:
    """One run of a list.

    Attributes:
        name: The run folder, relative to the folder that was listed.
        settings: The recipe's values, dotted key -> value, in which the listed runs differ.
        finished: Whether it came to its end.
        steps: Optimizer steps that its metrics tell of.
        failure: Why it failed, if it did.
        figures: The finished run's metrics by name as fractions, or those of its last evaluation.
    """

    name: str
    settings: dict[str, object]
    finished: bool
    steps: int
    failure: str | None
    figures: dict[str, float | None]


def list_runs(folder: Path) -> list[ListedRun]:
    """List the runs in a folder and below it.

    Args:
        folder: A folder of run folders, or one run folder.

    Returns:
        The runs by name. What says where to compute and what to measure (``runtime``, ``evaluation``) is no setting.

    Raises:
        InputError: If there is no run, or a run's recipe or metrics cannot be read.
    """
    files = sorted(folder.rglob("recipe.toml"))
    if not files:
        raise InputError(f"{folder}: expected a folder with runs (recipe.toml in each), found none; check the path")
    recipes = {file.parent: read_recipe(file) for file in files}
    keys = _varied(list(recipes.values()))
    return [
        ListedRun(run.relative_to(folder).as_posix(), _pick(recipe, keys), *_progress(RunFolder(run)))
        for run, recipe in recipes.items()
    ]


def _varied(recipes: list[Recipe]) -> list[str]:
    keys = {key for other in recipes[1:] for key in differences(recipes[0], other)}
    return sorted(key for key in keys if not key.startswith(("runtime.", "evaluation.")))


def _pick(recipe: Recipe, keys: list[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key in keys:
        value: object = recipe.model_dump(mode="json")
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        values[key] = value
    return values


def _progress(run: RunFolder) -> tuple[bool, int, str | None, dict[str, float | None]]:
    steps = 0
    figures: dict[str, float | None] = {}
    for record in run.metrics():
        steps = max(steps, record["step"])
        figures = record.get("figures", figures)
    if run.finished:
        figures = run.read_result()["figures"]
    return run.finished, steps, run.failure, figures
