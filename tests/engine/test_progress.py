"""What a run shows while it trains."""

import pytest

from facexfer.engine.progress import TrainingProgress


def test_a_line_with_brackets_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A file may be called so; rich would take it for a colour."""
    with TrainingProgress(total=1, shown=True) as progress:
        progress.say("photos/face[1].png and [bold] are names")
    shown = capsys.readouterr()
    assert "photos/face[1].png and [bold] are names" in shown.out + shown.err
