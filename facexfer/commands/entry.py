"""How every command starts and ends: one line, and exit status 2 for bad input or 1 for a run that failed."""

import os
import re
import sys
from collections.abc import Callable
from typing import Any

import typer

from facexfer.errors import InputError, RunError

# Options that take several values after one name, and what a further value looks like.
_SEVERAL = {
    "--precision": re.compile(r"fp\d+|int\d+(-dynamic)?"),
    "--far": re.compile(r"[\d.]+(e[+-]?\d+)?", re.IGNORECASE),
    "--set": re.compile(r"[\w.]+=.*", re.DOTALL),
    "--scores": re.compile(r"(?!-).*", re.DOTALL),
    "--slice-by": re.compile(r"(?!-).*", re.DOTALL),
}
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
# What typer's parser raises about a command line, whichever click it carries.
_UsageError: Any = typer.BadParameter.__bases__[0]


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
        status = app(args=repeat_options(sys.argv[1:]), standalone_mode=False)
    except _UsageError as error:
        print_error(f"{error.format_message().rstrip('.')}; see --help")
        sys.exit(EXIT_BAD_INPUT)
    except (typer.Abort, KeyboardInterrupt) as stop:
        if str(stop):
            print_error(str(stop))
        sys.exit(EXIT_INTERRUPTED)
    except InputError as error:
        print_error(str(error))
        sys.exit(EXIT_BAD_INPUT)
    except RunError as error:
        print_error(str(error))
        sys.exit(EXIT_FAILED)
    sys.exit(status if isinstance(status, int) else 0)


def repeat_options(words: list[str]) -> list[str]:
    """Write ``--far 1e-3 1e-4`` as ``--far 1e-3 --far 1e-4``, which is all that the parser knows.

    Args:
        words: The command line.

    Returns:
        The same, with the option's name before each of its values.

    Example:
        >>> repeat_options(["--far", "1e-3", "1e-4", "--json", "x"])
        ['--far', '1e-3', '--far', '1e-4', '--json', 'x']
    """
    repeated: list[str] = []
    option = ""
    for index, word in enumerate(words):
        if word.startswith("--"):
            option = word
        elif words[index - 1] != option:
            if option in _SEVERAL and _SEVERAL[option].fullmatch(word):
                repeated.append(option)
            else:
                option = ""
        repeated.append(word)
    return repeated


def print_error(message: str) -> None:
    """Print one line, whatever the message holds, on standard error."""
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line}{os.linesep}")
