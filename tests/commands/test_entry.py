"""How a command ends: its exit status, and one line for whatever was wrong."""

import sys

import pytest

from facexfer.cli import app
from facexfer.commands.entry import run_app


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["evaluate", "--far", "x"], "Invalid value for '--far'"),
        (["evaluate", "--hat", "1"], "No such option: --hat"),
        (["evaluate", "--pairs"], "'--pairs' requires an argument"),
        (["fly"], "No such command 'fly'; see --help"),
        (["evaluate"], "expected one of --model, --embeddings, --scores, got none"),
    ],
)
def test_a_bad_command_line_is_one_line_and_status_2(monkeypatch, capsys, words, line):
    monkeypatch.setattr(sys, "argv", ["facexfer", *words])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert line in error
    assert error.count("\n") == 1


def test_help_is_a_success(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["facexfer", "evaluate", "--help"])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == 0
    assert "--report" in capsys.readouterr().out


def test_ctrl_c_is_status_130(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["facexfer"])
    with pytest.raises(SystemExit) as ended:
        run_app(interrupt)
    assert ended.value.code == 130
