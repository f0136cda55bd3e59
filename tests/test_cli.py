"""The help of the command line: grouped, in the usual order, with examples that the parser accepts."""

import shlex

import pytest
import typer
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.commands.entry import repeat_options
from facexfer.commands.figures import figures

COMMANDS = typer.main.get_group(app).commands
FIGURES = {f"figures {name}": command for name, command in typer.main.get_group(figures).commands.items()}
WITH_EXAMPLE = {name: command for name, command in {**COMMANDS, **FIGURES}.items() if command.epilog}


def help_of(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    return result.output


def test_help_groups_the_commands_and_names_the_usual_order() -> None:
    text = help_of()
    places = [text.index(f"─ {panel} ") for panel in ("Data", "Train", "Measure", "Ship", "Look around")]
    assert places == sorted(places)
    assert "The usual order: prepare, train, evaluate, export." in text
    assert "─ Commands ─" not in text


def test_help_of_train_says_where_recipes_come_from() -> None:
    assert "A recipe is a TOML file: your own, or a packaged one by its name; --list lists them." in help_of("train")


def test_every_command_with_many_options_shows_an_example() -> None:
    long = {name for name, command in COMMANDS.items() if len(command.params) > 7}
    assert long | set(FIGURES) <= set(WITH_EXAMPLE)


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_examples_in_the_help_are_parsed(name: str) -> None:
    called, words = f"Example: facexfer {name} ", WITH_EXAMPLE[name].epilog
    assert words.startswith(called)
    WITH_EXAMPLE[name].make_context(name, repeat_options(shlex.split(words.removeprefix(called))))
