"""The page about recipes, from the models of `facexfer.recipe`: ``python tools/docs/recipe_reference.py`` prints it."""

import ast
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from facexfer import recipe as models
from facexfer.transfer import methods
from facexfer.transfer.methods import METHODS

_HEAD = """# Recipe keys

A recipe is a TOML file: one run, completely described. An unknown key is an error that suggests the nearest known one,
and so is a key that the run would not read. `--set section.key=value` changes one value on the command line, and
`--set section.key=` takes the key out of the recipe; a run folder holds the complete recipe as `recipe.toml`. Paths may
contain `~` and environment variables. This page is made from `facexfer/recipe.py`.
"""


def recipe_reference() -> str:
    """Write every section and key with type, default and meaning, and every method's options, as Markdown."""
    lines = [_HEAD, "## At the top", "", *_table(models.Recipe)]
    for name, field in models.Recipe.model_fields.items():
        section = _section(field.annotation)
        if section is not None:
            optional = "" if field.is_required() else " Optional."
            lines += [f"## `[{name}]`", "", f"{_text(section.__doc__)}{optional}", "", *_table(section)]
    lines += ["## Options of each method", "", "They stand in `[method]`, next to `name`.", ""]
    for name, method in sorted(own_methods().items()):
        lines += [f"### `{name}`", "", _text((method.__doc__ or "").split("\n\n")[0]), "", *_options(method)]
    return "\n".join(lines)


def own_methods() -> dict[str, Callable[..., Any]]:
    """Find the methods that are files of the package, whatever else has been registered in this process."""
    folder = str(Path(methods.__file__).parent)
    return {name: make for name, make in METHODS.items() if make.__code__.co_filename.startswith(folder)}


def _table(model: type[BaseModel]) -> Iterator[str]:
    meanings = _docstrings(model)
    yield from ("| key | type | default | meaning |", "|---|---|---|---|")
    for name, field in model.model_fields.items():
        inner = _section(field.annotation)
        if inner is not None and model is models.Recipe:
            continue
        default = "required" if field.is_required() else _value(field.get_default(call_default_factory=True))
        limits = "".join(
            f", {sign} {getattr(limit, attribute):g}"
            for limit in field.metadata
            for attribute, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
            if getattr(limit, attribute, None) is not None
        )
        yield f"| `{name}` | {_type(field.annotation)}{limits} | {default} | {meanings.get(name, '')} |"
    yield ""


def _options(method: Any) -> Iterator[str]:
    """Write a method's own options, with what the ``Args`` of its docstring say."""
    parameters = inspect.signature(method).parameters
    if not parameters:
        yield from ("No options.", "")
        return
    meanings = _arguments(inspect.getdoc(method) or "")
    yield from ("| option | type | default | meaning |", "|---|---|---|---|")
    for name, parameter in parameters.items():
        default = "required" if parameter.default is parameter.empty else _value(parameter.default)
        yield f"| `{name}` | {_type(parameter.annotation)} | {default} | {meanings.get(name, '')} |"
    yield ""


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Read the string below each field, as Python itself does not keep it."""
    declared = ast.parse(inspect.getsource(model)).body[0]
    assert isinstance(declared, ast.ClassDef)
    found = {}
    for field, below in itertools.pairwise(declared.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = _text(ast.literal_eval(below.value))
    return found


def _arguments(docstring: str) -> dict[str, str]:
    _, _, section = docstring.partition("Args:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.split("\n"):
        if not line.startswith("    "):
            break
        if not line.startswith("     "):
            name, _, line = line.strip().partition(": ")
        found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return {key: _text(value) for key, value in found.items()}


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field holds, also where it may be left out."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _type(annotation: Any) -> str:
    if get_origin(annotation) in (UnionType, Union):
        return " or ".join(_type(each) for each in get_args(annotation) if each is not type(None))
    name = getattr(annotation, "__name__", "")
    if name == "Literal":
        return ", ".join(f"`{each}`" for each in get_args(annotation))
    if name == "Annotated" or hasattr(annotation, "__metadata__"):
        return _type(get_args(annotation)[0])
    if name == "tuple":
        return f"list of {_type(get_args(annotation)[0])}"
    words = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Path": "path"}
    return words.get(name, "table" if _section(annotation) else name)


def _value(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(filter(None, map(_value, value))) or "`[]`"
    if isinstance(value, BaseModel):
        return f"`{value.model_dump(exclude_defaults=True)}`"
    return f"`{value:.4g}`" if isinstance(value, float) else f"`{value}`"


def _text(text: str | None) -> str:
    """Join lines, and write the double backticks of docstrings as Markdown does."""
    return " ".join((text or "").split()).replace("``", "`").replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(recipe_reference())
