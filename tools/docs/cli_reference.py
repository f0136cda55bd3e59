"""The page about the command line, from the commands themselves: ``python tools/docs/cli_reference.py`` prints it."""

import sys
from collections.abc import Iterator
from typing import Any

import typer

from facexfer.cli import app


def cli_reference() -> str:
    """Write every command with its arguments, options, defaults and example as Markdown."""
    root: Any = typer.main.get_command(app)
    lines = ["# Command line", "", *_paragraphs(root.help), ""]
    for panel in dict.fromkeys(command.rich_help_panel for command in root.commands.values()):
        lines += [f"## {panel}", ""]
        for name, command in root.commands.items():
            if command.rich_help_panel == panel:
                lines += _describe(f"facexfer {name}", command)
    return "\n".join(lines)


def _describe(name: str, command: Any) -> Iterator[str]:
    """Write one command, and for a group such as ``figures`` the commands in it."""
    yield from (f"### {name}", "", *_paragraphs(command.help), "")
    if command.epilog:
        yield from ("```sh", command.epilog.removeprefix("Example: "), "```", "")
    for inner_name, inner in getattr(command, "commands", {}).items():
        yield from _describe(f"{name} {inner_name}", inner)
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    if rows and not hasattr(command, "commands"):
        yield from ("| argument or option | default | what |", "|---|---|---|", *rows, "")


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.name.upper()}`" + (" ..." if parameter.nargs == -1 else "")
    else:
        name = " ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts])
    default = parameter.default
    if parameter.required:
        shown = "required"
    else:
        shown = "" if default is None or default is False or default == [] else f"`{default}`"
    return f"| {name} | {shown} | {_cell(parameter.help)} |"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")


def _paragraphs(text: str | None) -> list[str]:
    return (text or "").strip().split("\n")


if __name__ == "__main__":
    sys.stdout.write(cli_reference())
