"""What a run shows while it trains."""

import pytest

from facexfer.engine.progress import TrainingProgress


def test_a_line_with_brackets_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A file may be called so; rich would take it for a colour."""
    with TrainingProgress(total=1, shown=True) as progress:
        progress.say("photos/face[1].png and [bold] are names")
    shown = capsys.readouterr()
    assert "photos/face[1].png and [bold] are names" in shown.out + shown.err


def test_an_evaluation_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress(total=1, shown=True) as progress:
        progress.figures(3, {f"[nir]/tar@{far:g}": 0.5 for far in (0.1, 0.01, 0.001, 0.0001)} | {"eer": None})
    shown = capsys.readouterr()
    (line,) = [line for line in (shown.out + shown.err).splitlines() if "step 3" in line]
    assert line.endswith("[nir]/tar@0.0001 50.00 %  eer unsupported")


def test_a_loss_is_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress(total=1, shown=True) as progress:
        # Of a source that has no classes yet.
        progress.figures(0, {})
        progress.figures(3, {"top1": 0.5, "test/classification": 0.693})
    shown = capsys.readouterr()
    (line,) = [line for line in (shown.out + shown.err).splitlines() if "step " in line]
    assert line == "step 3: top1 50.00 %  test/classification 0.6930"
