"""What pydantic refuses, as one line."""

import re
import types
from typing import Annotated, Any, Union, get_args, get_origin

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
    if unknown and model is not None:
        location = unknown[0]["loc"]
        return unknown_name_message("key", ".".join(map(str, location)), _keys_beside(model, location))
    place = _place(errors[0]["loc"], model)
    # Where a value may have several forms, the one that it came closest to.
    first = max((each for each in errors if _place(each["loc"], model) == place), key=lambda each: len(each["loc"]))
    if first["type"] == "value_error":
        # A check of our own, which says what came where that helps.
        return f"{place}: {first['ctx']['error']}"
    if first["type"] in ("tuple_type", "list_type"):
        return f"{place}: expected a list, got {first['input']!r}; put it into brackets"
    if first["type"] in ("missing", "missing_argument"):
        return f"{place}: expected a value, got none; add it"
    got = repr(first["input"])
    if first["type"] == "string_type" and isinstance(first["input"], int | float):
        return f"{place}: expected text, got {got}; put it into quotes, with --set {place}='\"{first['input']}\"'"
    if first["type"] in ("model_type", "dict_type"):
        return f"{place}: expected a section, got {got}; set a key of it, such as {place}.{_first_key(model, place)}"
    return f"{place}: {_expectation(first)}, got {got}"


def first_place(error: pydantic.ValidationError, model: type[pydantic.BaseModel]) -> str:
    """The dotted key that `first_problem` speaks of; the section where a key is missing or keys do not fit each other.

    Args:
        error: The refusal.
        model: What was refused.
    """
    errors = error.errors()
    unknown = next((each for each in errors if each["type"] == "extra_forbidden"), None)
    if unknown is not None:
        return ".".join(map(str, unknown["loc"]))
    place = _place(errors[0]["loc"], model)
    return place.rpartition(".")[0] if errors[0]["type"] == "missing" else place


def _place(location: tuple[int | str, ...], model: Any) -> str:
    """The dotted key; what follows it names the forms that a value may have in pydantic's own words."""
    known: list[str] = []
    for part in location:
        while get_origin(model) is Annotated or (_is_union(model) and len(_sections(model)) == 1):
            model = _sections(model)[0]
        if _is_union(model) or (model is None and known):
            break
        known.append(str(part))
        if hasattr(model, "model_fields"):
            field = model.model_fields.get(part)
            model = None if field is None else field.annotation
        else:
            # The value of a mapping under any key, that of a list at any place.
            model = (_sections(model) or [None])[-1]
    return ".".join(known)


def _expectation(problem: Any) -> str:
    """What was expected, in pydantic's words as far as they say it."""
    if problem["type"] == "too_short":
        return f"expected at least {problem['ctx']['min_length']} in the list"
    message: str = problem["msg"]
    if problem["type"] == "int_from_float" or problem["type"].endswith("_parsing"):
        # What follows the comma tells of parsing.
        message = message.partition(", ")[0]
    message = re.sub("^Input should be (?=greater|less)", "expected a value ", message)
    return message.replace("Input should be", "expected", 1)


def _first_key(model: Any, place: str) -> str:
    """The first key of the section at a place."""
    return _keys_beside(model, (*place.split("."), ""))[0].rpartition(".")[2]


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _keys_beside(model: Any, location: tuple[int | str, ...]) -> list[str]:
    *parents, _ = location
    for part in parents:
        # In a mapping or a tuple of sections, any key or place leads to the same section.
        inner = model.model_fields[part].annotation if hasattr(model, "model_fields") else _sections(model)[-1]
        model = _sections(inner)[0] if _is_union(inner) else inner
    prefix = "".join(f"{part}." for part in parents)
    return [f"{prefix}{name}" for name in model.model_fields]


def _sections(annotation: Any) -> list[Any]:
    return [each for each in get_args(annotation) if each not in (type(None), ...)]
