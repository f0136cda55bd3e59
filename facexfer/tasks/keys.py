"""Which keys of a recipe a task reads; one that it does not read is an error, so that nothing set does nothing."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from types import UnionType
from typing import Any, TypeGuard, get_args

from pydantic import BaseModel

from facexfer.errors import InputError
from facexfer.recipe import Recipe
from facexfer.tasks import TASKS

READ_FOR_EVERY_TASK = (
    "task", "seed", "plugins", "source.*", "head.*", "method.*", "optimizer.*", "runtime.*",
    "data.augmentation", "data.identities_per_batch",
    "evaluation.every_epochs", "evaluation.untouched", "evaluation.test_loss",
)  # fmt: skip
"""Patterns of the keys that the training loop reads itself, whatever the task; each task adds its own."""

WITHOUT_EFFECT_ALONE = {
    "data.draw_seed": (
        "data.images_per_identity", "data.train_identities", "data.search_identities", "data.images_per_class",
        "data.search_share", "data.dataset", "data.folds",
    ),
    "companions.augmentation": ("companions.share",),
    "evaluation.patience": ("evaluation.best_far",),
    "optimizer.drop_factor": ("optimizer.drops",),
    "optimizer.final_keep": ("optimizer.final_batchnorm", "optimizer.source_share"),
    "source.variance_floor": (
        "source.recalibrate_batchnorm", "optimizer.final_batchnorm", "optimizer.source_share",
    ),
}  # fmt: skip
"""Key -> keys of which one must say something, or it does nothing."""

WITHOUT_EFFECT_WITH = {
    "companions.manifest": ("companions.match", "simulated"),
    "companions.modality": ("companions.match", "simulated"),
    "runtime.workers": ("runtime.augment", "device"),
}
"""Key -> another one and the value of it with which it does nothing."""

_SOMETIMES_IDLE = WITHOUT_EFFECT_ALONE.keys() | WITHOUT_EFFECT_WITH.keys()


def all_keys(section: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Every key of a recipe, dotted: ``seed``, ``data.manifest``; a list of sections counts as one key."""
    for name, field in section.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is None:
            yield f"{prefix}{name}"
        else:
            yield from all_keys(inner, f"{prefix}{name}.")


def is_read(key: str, task: str) -> bool:
    """Whether a recipe of a task reads a key.

    Example:
        >>> is_read("data.cache", "face"), is_read("data.cache", "image")
        (True, False)
    """
    return any(fnmatchcase(key, pattern) for pattern in (*READ_FOR_EVERY_TASK, *TASKS[task].reads))


def idle_keys(task: str) -> frozenset[str]:
    """The keys that recipes of a task must not set."""
    return frozenset(key for key in all_keys() if not is_read(key, task))


def check_keys(recipe: Recipe) -> None:
    """Check that every key that a recipe sets is read.

    Args:
        recipe: The run.

    Raises:
        InputError: If the task does not read a key, or the key does nothing without another one; or the task is
            unknown.

    Example:
        >>> from facexfer.recipe import parse_recipe
        >>> values = {"source": {"backbone": "mbf"}, "method": {"name": "l2"}, "optimizer": {"epochs": 1}}
        >>> check_keys(parse_recipe({**values, "data": {"search_share": 0.2}}, "my.toml"))
        Traceback (most recent call last):
        facexfer.errors.InputError: expected keys that the face task reads, got data.search_share, which the image task reads; leave it out
    """  # noqa: E501
    given = dict(_set_keys(recipe))
    for key in given:
        if not is_read(key, recipe.task):
            others = [name for name in TASKS if is_read(key, name)]
            who = " and ".join(f"the {name} task reads" for name in others) or "no task reads"
            raise InputError(f"expected keys that the {recipe.task} task reads, got {key}, which {who}; leave it out")
    # A run's own recipe.toml has every default written out, and a default changes nothing.
    changed = sorted(key for key in given if key in _SOMETIMES_IDLE and given[key] != _default(key))
    for key in changed:
        other, value = WITHOUT_EFFECT_WITH.get(key, ("", None))
        if other and _value(recipe, other) == value:
            raise InputError(
                f'{key}: expected another {other} with it than "{value}", with which it does nothing; leave it out'
            )
        if key in WITHOUT_EFFECT_ALONE and not any(_value(recipe, other) for other in WITHOUT_EFFECT_ALONE[key]):
            known = [other for other in WITHOUT_EFFECT_ALONE[key] if is_read(other, recipe.task)]
            raise InputError(
                f"{key}: expected {' or '.join(known)} with it, got none; it does nothing alone, leave it out"
            )


def _is_section(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _set_keys(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name not in section.model_fields_set:
            continue
        if isinstance(value, BaseModel):
            yield from _set_keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _section_of(annotation: object) -> type[BaseModel] | None:
    alternatives = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next((each for each in alternatives if _is_section(each)), None)


def _default(key: str) -> object:
    name, _, last = key.partition(".")
    section = _section_of(Recipe.model_fields[name].annotation)
    assert section is not None
    return section.model_fields[last].default


def _value(recipe: Recipe, key: str) -> Any:
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part, None)
    return value
