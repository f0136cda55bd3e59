"""Commands in this process: as a program runs them, or with their errors as exceptions."""

import sys
from collections.abc import Callable, Sequence

import pytest
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.commands.entry import repeat_options, run_app
from facexfer.errors import InputError, RunError


def run(*words: object) -> str:
    """Run a command that is to succeed and give what it printed; what it refuses is raised."""
    result = CliRunner().invoke(app, repeat_options(list(map(str, words))))
    if isinstance(result.exception, (InputError, RunError)):
        raise result.exception
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def status_of(monkeypatch: pytest.MonkeyPatch, words: Sequence[object], command: Callable[..., object] = app) -> int:
    """Run a command line as a program does and give its exit status."""
    monkeypatch.setattr(sys, "argv", ["facexfer", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        run_app(command)
    assert isinstance(ended.value.code, int)
    return ended.value.code
