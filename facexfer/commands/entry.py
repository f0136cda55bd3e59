"""How every command starts and ends: one line, and exit status 2 for bad input or 1 for a run that failed."""

import os
import sys
from collections.abc import Callable

import typer

from facexfer.errors import InputError, RunError

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2


def run_command(command: Callable[..., None]) -> None:
    """Run one command function as a program, e.g. from a script in ``tools/``.

    Args:
        command: A function with typer-style annotated parameters.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    run_app(app)


def run_app(app: typer.Typer) -> None:
    """Run a typer app on the process's arguments and exit with the status that its outcome deserves.

    Status 0 is a finished command, 1 one that failed, 2 is bad input (also of the command line itself), 130 Ctrl-C.
    """
    try:
        app()
    except InputError as error:
        print_error(str(error))
        sys.exit(EXIT_BAD_INPUT)
    except RunError as error:
        print_error(str(error))
        sys.exit(EXIT_FAILED)


def print_error(message: str) -> None:
    """Print one line, whatever the message holds, on standard error."""
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line}{os.linesep}")
