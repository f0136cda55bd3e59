"""The methods, one paper per file: equations, modules and schedule together."""

import inspect
from collections.abc import Callable

import pydantic

from facexfer.errors import InputError
from facexfer.registry import Registry, unknown_name_message
from facexfer.transfer.methods.adabn import adabn
from facexfer.transfer.methods.afa import afa
from facexfer.transfer.methods.csd import csd
from facexfer.transfer.methods.delta import delta
from facexfer.transfer.methods.dfa import dfa
from facexfer.transfer.methods.l2 import l2
from facexfer.transfer.methods.l2_fe import l2_fe
from facexfer.transfer.methods.l2_sp import l2_sp
from facexfer.transfer.methods.lwf import lwf
from facexfer.transfer.methods.soft_ft import soft_ft
from facexfer.transfer.stages import Stage

Method = Callable[..., tuple[Stage, ...]]

METHODS: Registry[Method] = Registry("method")
for _method in (adabn, afa, csd, delta, dfa, l2, l2_fe, l2_sp, lwf, soft_ft):
    METHODS.add(_method.__name__, _method)


def create(name: str, **options: object) -> tuple[Stage, ...]:
    """Make a method's stages.

    Args:
        name: One of `METHODS`.
        **options: The method's own; its function's docstring lists them.

    Returns:
        The stages in their order.

    Raises:
        InputError: If the name or an option is unknown, or an option's value has the wrong type.

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
    try:
        return pydantic.validate_call(method)(**options)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"method {name}, option {place}: {first['msg']}, got {first['input']!r}") from error
