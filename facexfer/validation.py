"""What pydantic refuses, as one line."""

import types
from typing import Any, Union, get_args, get_origin

import pydantic

from facexfer.registry import unknown_name_message


def first_problem(error: pydantic.ValidationError, model: type[pydantic.BaseModel] | None = None) -> str:
    """The first problem of a failed validation; an unknown key comes before all others.

    Args:
        error: The refusal.
        model: What was refused, to suggest the nearest key of; None where no unknown key can come.

    Returns:
        One line: the place, what was expected and what came.
    """
    errors = error.errors()
    unknown = [each for each in errors if each["type"] == "extra_forbidden"]
    first = (unknown or errors)[0]
    place = ".".join(str(part) for part in first["loc"])
    if unknown and model is not None:
        return unknown_name_message("key", place, _keys_beside(model, first["loc"]))
    if first["type"] == "value_error":
        # A check of our own, which says what came where that helps.
        return f"{place}: {first['ctx']['error']}"
    if first["type"] in ("tuple_type", "list_type"):
        return f"{place}: expected a list, got {first['input']!r}; put it into brackets"
    if first["type"] in ("missing", "missing_argument"):
        return f"{place}: expected a value, got none; add it"
    return f"{place}: {first['msg']}, got {first['input']!r}"


def _keys_beside(model: Any, location: tuple[int | str, ...]) -> list[str]:
    *parents, _ = location
    for part in parents:
        # In a mapping or a tuple of sections, any key or place leads to the same section.
        inner = model.model_fields[part].annotation if hasattr(model, "model_fields") else _sections(model)[-1]
        model = _sections(inner)[0] if get_origin(inner) in (Union, types.UnionType) else inner
    prefix = "".join(f"{part}." for part in parents)
    return [f"{prefix}{name}" for name in model.model_fields]


def _sections(annotation: Any) -> list[Any]:
    return [each for each in get_args(annotation) if each not in (type(None), ...)]
