"""A network's name with its options in one text, as recipes, runs and files hold it."""

import ast
from collections.abc import Mapping
from typing import Any

from facexfer.errors import InputError


def split_name(name: str) -> tuple[str, dict[str, Any]]:
    """Take the options out of a name.

    Args:
        name: Such as ``mbf`` or ``mbf(scale=1, blocks=(1, 4, 6, 2))``; the values are numbers, texts and tuples.

    Returns:
        The bare name and the options.

    Raises:
        InputError: If there is anything but a name with ``option=value`` in brackets.

    Example:
        >>> split_name("mbf(scale=1)")
        ('mbf', {'scale': 1})
    """
    if "(" not in name:
        return name, {}
    try:
        call = ast.parse(name, mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            options = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords if each.arg}
            if len(options) == len(call.keywords):
                return call.func.id, options
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        pass
    raise InputError(f"expected a network with options such as mbf(scale=1, blocks=(1, 4, 6, 2)), got '{name}'")


def join_name(name: str, options: Mapping[str, Any]) -> str:
    """Write a name with its options, so that `split_name` gives both back.

    Example:
        >>> join_name("mbf", {"scale": 1, "blocks": (1, 4, 6, 2)})
        'mbf(scale=1, blocks=(1, 4, 6, 2))'
    """
    if not options:
        return name
    given = ", ".join(f"{key}={tuple(value) if isinstance(value, list) else value!r}" for key, value in options.items())
    return f"{name}({given})"
