"""How a command ends: its exit status, and one line for whatever was wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import status_of

from facexfer.commands.entry import run_app, run_command


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
def test_a_bad_command_line_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert status_of(monkeypatch, words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert line in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["train", "demo-l2", "--out", ""],
        ["train", "demo-l2", "--out="],
        ["doctor", "--out", "", "--json"],
        ["figures", "loss-curves", "runs/a", "--out", ""],
        ["evaluate", "--model", "runs/a", "--json", ""],
        ["evaluate", "--model", "runs/a", "--report", ""],
        ["evaluate", "--model", "runs/a", "--into="],
    ],
)
def test_an_empty_name_of_what_is_written_is_not_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status_of(monkeypatch, words) == 2
    said = r"error: --(out|json|report|into): expected a path, got an empty one; name one, or look .* is not set\n"
    assert re.fullmatch(said, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_help_is_a_success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(monkeypatch, ["evaluate", "--help"]) == 0
    assert "--report" in capsys.readouterr().out


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: Any) -> None:
        raise KeyboardInterrupt

    assert status_of(monkeypatch, [], interrupt) == 130


def test_a_stopped_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(steps: int = 3) -> None:
        raise KeyboardInterrupt(f"stopped after step {steps}; continue with --resume")

    monkeypatch.setattr(sys, "argv", ["stopped", "--steps", "4"])
    with pytest.raises(SystemExit) as end:
        run_command(stopped)
    assert end.value.code == 130
    assert capsys.readouterr().err == "error: stopped after step 4; continue with --resume\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "expected enough memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
            "smaller batches",
        ),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB"), "Tried to allocate 2 GiB"),
        (PermissionError(13, "Permission denied", "/runs/afa"), "/runs/afa: expected access, got: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_what_the_machine_refuses_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error, said: str
) -> None:
    def fail(*_: object, **__: Any) -> None:
        raise error

    assert status_of(monkeypatch, [], fail) == 1
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: Any) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(sys, "argv", ["facexfer"])
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run_app(fail)


def test_a_reader_that_stops_reading_is_no_fault(tmp_path: Path) -> None:
    """As in ``facexfer --help | true``."""
    program = f"{sys.executable} -m facexfer train --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], check=False, capture_output=True, text=True)
    assert done.stderr == ""


def test_a_name_that_the_terminal_lacks_is_shown_in_another_way(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "facexfer", "train", str(tmp_path / "Jos\N{LATIN SMALL LETTER E WITH ACUTE}.toml")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*words, "--out", str(tmp_path / "run")], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert "Jos\\xe9.toml" in done.stderr
