"""Runs side by side: in what their recipes differ, how far they came, and what they measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from facexfer.errors import InputError
from facexfer.recipe import Recipe, differences, read_recipe
from facexfer.runs.folder import RunFolder

_Progress: TypeAlias = tuple[bool, int, str | None, dict[str, float | None]]


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
        unreadable: Why nothing is known of it, if one of its files cannot be read.
    """

    name: str
    settings: dict[str, object]
    finished: bool
    steps: int
    failure: str | None
    figures: dict[str, float | None]
    unreadable: str | None = None


def list_runs(folder: Path) -> list[ListedRun]:
    """List the runs in a folder and below it.

    Args:
        folder: A folder of run folders, or one run folder.

    Returns:
        The runs by name. What says where to compute and what to measure (``runtime``, ``evaluation``) is no setting.

    Raises:
        InputError: If there is no run.
    """
    files = sorted(folder.rglob("recipe.toml"))
    if not files:
        raise InputError(f"{folder}: expected a folder with runs (recipe.toml in each), found none; check the path")
    read = {file.parent: _read(RunFolder(file.parent)) for file in files}
    keys = _varied([found[0] for found in read.values() if not isinstance(found, InputError)])
    listed = []
    for run, found in read.items():
        name = run.relative_to(folder).as_posix()
        if isinstance(found, InputError):
            listed.append(ListedRun(name, {}, False, 0, None, {}, unreadable=str(found)))
        else:
            recipe, progress = found
            listed.append(ListedRun(name, _pick(recipe, keys), *progress))
    return listed


def _read(run: RunFolder) -> tuple[Recipe, _Progress] | InputError:
    """What a run says of itself; one damaged run does not hide the others."""
    try:
        return read_recipe(run.recipe_file), _progress(run)
    except InputError as error:
        return error


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


def _progress(run: RunFolder) -> _Progress:
    steps = 0
    figures: dict[str, float | None] = {}
    for record in run.metrics():
        steps = max(steps, record["step"])
        figures = record.get("figures", figures)
    if run.finished:
        # Training may have ended early, for want of a better figure.
        result = run.read_result()
        figures, steps = result["figures"], result["steps"]
    return run.finished, steps, run.failure, figures
