"""The pages that are made from the code name everything that it has."""

import re
import runpy
from pathlib import Path

import pytest
import typer

import facexfer
from facexfer.cli import app
from facexfer.recipe import Recipe
from facexfer.transfer.methods import METHODS

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "docs"


def page(name: str) -> str:
    return runpy.run_path(str(TOOLS / f"{name}.py"))[name]()


@pytest.fixture(scope="module")
def recipe_page() -> str:
    return page("recipe_reference")


def test_every_key_of_a_recipe_has_its_row_in_its_section(recipe_page: str) -> None:
    for section, field in Recipe.model_fields.items():
        models = [kind for kind in (field.annotation, *getattr(field.annotation, "__args__", ())) if kind]
        fields = next((each.model_fields for each in models if hasattr(each, "model_fields")), None)
        if fields is None:
            assert f"| `{section}` |" in recipe_page
            continue
        part = recipe_page.split(f"## `[{section}]`\n")[1].split("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) == list(fields)


def test_a_row_has_type_limits_default_and_meaning(recipe_page: str) -> None:
    assert "| `batch_size` | integer, ≥ 1 | `64` | Images per step over all devices together. |" in recipe_page
    assert "| `schedule` | `steps`, `cosine` | `steps` | How the learning rate falls over a stage:" in recipe_page
    assert "| `weights` | path |" in recipe_page
    assert "Optional |" not in recipe_page
    assert not re.search(r"\|  \|$", recipe_page, re.MULTILINE), "a key or an option without a meaning"


def test_every_method_has_its_options(recipe_page: str) -> None:
    # Other tests register methods of their own.
    for name in (each for each, method in METHODS.items() if "facexfer/transfer" in method.__code__.co_filename):
        assert f"### `{name}`\n" in recipe_page
    assert "| `identity_weight` | number | `0` | a, of the classification loss; 0 reads no label. |" in recipe_page


def test_every_command_has_its_options_and_its_example() -> None:
    text = page("cli_reference")
    for name, command in typer.main.get_group(app).commands.items():
        part = text.split(f"### facexfer {name}\n")[1].split("\n### facexfer ")[0]
        if not hasattr(command, "commands"):
            for parameter in command.params:
                assert parameter.name == "help" or f"`{max(parameter.opts, key=len)}`".lower() in part.lower()
        assert command.epilog is None or command.epilog.removeprefix("Example: ") in part
    assert "### facexfer figures loss-curves" in text
    assert text.count("\n## Measure\n") == 1


def test_every_public_name_has_its_block() -> None:
    text = page("api_reference")
    assert set(re.findall(r"^      heading: facexfer\.(\w+)$", text, re.MULTILINE)) == set(facexfer.__all__) - {
        "__version__"
    }
    assert text.count("\n::: facexfer.") == len(facexfer.__all__) - 1
