"""How every command starts and ends: one line, and exit status 2 for bad input or 1 for a run that failed."""

import functools
import io
import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable, Collection
from typing import Any

import typer

from facexfer.errors import DataWarning, InputError, RunError

_NUMBER = re.compile(r"[\d.]+(e[+-]?\d+)?", re.IGNORECASE)
# Options that take several values after one name, and what a further value looks like.
_SEVERAL = {
    "--precision": re.compile(r"fp\d+|int\d+(-dynamic)?"),
    "--runtime": re.compile(r"(onnxruntime|openvino|ncnn|litert|executorch|coreml|opencv|tensorrt)(:[\w-]+)?"),
    **dict.fromkeys(("--far", "--extrapolate", "--input-mean", "--input-std"), _NUMBER),
    "--set": re.compile(r"[\w.]+=.*", re.DOTALL),
    "--scores": re.compile(r"(?!-).*", re.DOTALL),
    "--slice-by": re.compile(r"(?!-).*", re.DOTALL),
}
# Options that name what is written; without a name it would be the current folder.
_WRITTEN = ("--out", "--json", "--report", "--into")
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
# How torch says that the CPU's memory is full.
_NO_MEMORY = "DefaultCPUAllocator: can't allocate memory"
# What typer's parser raises about a command line, whichever click it carries.
_UsageError: Any = typer.BadParameter.__bases__[0]


class _InterruptedError(Exception):
    """Ctrl-C, with what a command says about it."""


def run_command(command: Callable[..., None]) -> None:
    """Run one command function as a program, e.g. from a script in ``tools/``.

    Args:
        command: A function with typer-style annotated parameters.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(telling_of_interrupts(command))
    run_app(app)


def telling_of_interrupts(command: Callable[..., None]) -> Callable[..., None]:
    """Let the words of a KeyboardInterrupt, such as how to go on, reach `run_app`: typer drops them.

    Args:
        command: A function with typer-style annotated parameters.

    Returns:
        A function with the same parameters.
    """

    @functools.wraps(command)
    def told(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt as stop:
            raise _InterruptedError(str(stop)) from None

    return told


def run_app(app: Callable[..., Any]) -> None:
    """Run an app of typer's kind on the process's arguments and exit with the status that its outcome deserves.

    Status 0 is a finished command, 1 one that failed, 2 is bad input (also of the command line itself), 130 Ctrl-C.
    What the machine refuses, such as memory or a file, is one line too; any other exception is a fault of ours and
    keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding does not have must not end the command.
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _format_warning
    words, command = sys.argv[1:], typer.main.get_command(app) if isinstance(app, typer.Typer) else app
    try:
        _check_written(words)
        status = command(args=repeat_options(words, _options_of_several(command, words)), standalone_mode=False)
    except _UsageError as error:
        print_error(f"{error.format_message().rstrip('.')}; see --help")
        sys.exit(EXIT_BAD_INPUT)
    except (_InterruptedError, typer.Abort, KeyboardInterrupt) as stop:
        if str(stop):
            print_error(str(stop))
        sys.exit(EXIT_INTERRUPTED)
    except InputError as error:
        print_error(str(error))
        sys.exit(EXIT_BAD_INPUT)
    except RunError as error:
        print_error(str(error))
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # Whoever read the output, such as head, has had enough; what is still buffered must not fail at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except (MemoryError, OSError, RuntimeError) as error:
        refusal = _describe_refusal(error)
        if refusal is None:
            raise
        print_error(refusal)
        sys.exit(EXIT_FAILED)
    sys.exit(status if isinstance(status, int) else 0)


def _check_written(words: list[str]) -> None:
    for option, value in itertools.pairwise([*words, "--"]):
        if option.removesuffix("=") in _WRITTEN and (value == "" or option.endswith("=")):
            raise InputError(
                f"{option.removesuffix('=')}: expected a path, got an empty one; name one, or look whether a variable "
                "of the shell is not set"
            )


def _options_of_several(command: Any, words: list[str]) -> Collection[str]:
    """The options that take several values, of the command that a command line names."""
    for word in words:
        if not hasattr(command, "commands"):
            break
        if not word.startswith("-"):
            command = command.commands.get(word)
    parameters = getattr(command, "params", ())
    return {option for each in parameters if getattr(each, "multiple", False) for option in each.opts}


def repeat_options(words: list[str], several: Collection[str] = _SEVERAL) -> list[str]:
    """Write ``--far 1e-3 1e-4`` as ``--far 1e-3 --far 1e-4``, which is all that the parser knows.

    Args:
        words: The command line.
        several: Options that take several values in this command; others stay as they are, and so are refused.

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
            if option in several and option in _SEVERAL and _SEVERAL[option].fullmatch(word):
                repeated.append(option)
            else:
                option = ""
        repeated.append(word)
    return repeated


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Write a warning about input as one line; others as Python does, without the line of code."""
    text = " ".join(str(message).split())
    place = "warning" if issubclass(category, DataWarning) else f"{filename}:{lineno}: {category.__name__}"
    return f"{place}: {text}\n"


def _describe_refusal(error: Exception) -> str | None:
    """What the machine refused; None if the error is of another kind."""
    # Not by class: torch need not be imported for a command that fails without it.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _NO_MEMORY in str(error):
        return f"expected enough memory, got: {str(error) or 'none left'}; take smaller batches or less at a time"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.filename or 'a file'}: expected access, got: {error.strerror}; check permissions and free space"
    return None


def print_error(message: str) -> None:
    """Print one line, whatever the message holds, on standard error."""
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line}{os.linesep}")
