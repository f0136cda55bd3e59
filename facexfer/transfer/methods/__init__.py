"""The methods, one paper per file: equations, modules and schedule together."""

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import pydantic

from facexfer.errors import InputError
from facexfer.registry import Registry, blaming, modules_of, unknown_name_message
from facexfer.transfer.stages import Stage
from facexfer.validation import first_problem

# Options without which a stage would not be trained, or the prototypes' answers would all be one.
_POSITIVE = ("second_rate", "rate_factor", "prototype_scale")

Method = Callable[..., tuple[Stage, ...]]
M = TypeVar("M", bound=Method)

METHODS: Registry[Method] = Registry("method", "methods")
"""A method's name -> what makes its stages; the function of the same name of every file here."""
for _module in modules_of(__name__, __path__):
    _name = _module.__name__.rpartition(".")[2]
    METHODS.add(_name, getattr(_module, _name))


def register_method(name: str) -> Callable[[M], M]:
    """Return a decorator that registers your own method under a name, for recipes and `create`.

    Args:
        name: As ``method.name`` in a recipe.

    Returns:
        The decorator; the function's own arguments, with types and defaults, are the method's options.

    Raises:
        ValueError: If another method has the name.

    Example:
        >>> @register_method("head_alone")
        ... def head_alone(decay: float = 0.01) -> tuple[Stage, ...]:
        ...     return (Stage("head", trains_backbone=False, head_decay=decay),)
        >>> create("head_alone", decay=0.1)[0].head_decay
        0.1
    """
    return lambda method: METHODS.add(name, method)  # type: ignore[return-value]


def create(name: str, **options: object) -> tuple[Stage, ...]:
    """Make a method's stages.

    Args:
        name: One of `METHODS`.
        **options: The method's own; its function's docstring lists them.

    Returns:
        The stages in their order.

    Raises:
        InputError: If the name or an option is unknown, an option's value has the wrong type, a weight is negative, a
            rate or scale is not positive, a plugin's method raises an error, or what the method returns is no tuple of
            stages.

    Example:
        >>> create("afa", spatal_alpha=0.1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facexfer.errors.InputError: unknown afa option 'spatal_alpha'; did you mean 'spatial_alpha'? afa options: ...
    """
    method = METHODS[name]
    known = inspect.signature(method).parameters
    for option in options:
        if option not in known:
            raise InputError(unknown_name_message(f"{name} option", option, known))
    with blaming(method, f"method '{name}'"):
        try:
            stages = pydantic.validate_call(method)(**options)
        except pydantic.ValidationError as error:
            raise InputError(f"method {name}, option {first_problem(error)}") from error
    for option, value in options.items():
        if isinstance(value, bool) and known[option].annotation in (int, float):
            raise InputError(f"expected a number for method.{option}, got {str(value).lower()}; give one")
        if (number := _as_number(value)) is not None:
            _check_number(option, number, known[option].default)
    if not isinstance(stages, tuple) or not all(isinstance(stage, Stage) for stage in stages):
        raise InputError(
            f"method {name}: expected a tuple of stages, got {type(stages).__name__}; let its function return one"
        )
    if untrained := next((stage for stage in stages if stage.rate_factor <= 0), None):
        raise InputError(
            f"method {name}: expected a rate_factor above 0 of every stage, got {untrained.rate_factor:g} of "
            f"{untrained.name}; raise it"
        )
    return stages


def _as_number(value: object) -> float | None:
    """The number that a value stands for, as text too: ``-.5`` is none in TOML, and a method takes it for one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _check_number(option: str, number: float, default: Any) -> None:
    if not math.isfinite(number):
        raise InputError(f"expected a finite number for method.{option}, got {number}; give another")
    if number < 0 and option.endswith(("alpha", "weight", "decay")):
        raise InputError(f"expected method.{option} of at least 0, got {number:g}; 0 leaves the term out")
    if number <= 0 and option in _POSITIVE:
        raise InputError(f"expected method.{option} above 0, got {number:g}; the default is {default:g}")
