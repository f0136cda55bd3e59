"""A device's log, as devices write it."""

from pathlib import Path

import numpy as np
import pytest

from facexfer.deploy.score_log import read_log
from facexfer.errors import InputError


def written(folder: Path, text: str) -> Path:
    """Write a log."""
    (folder / "log.csv").write_text(text)
    return folder / "log.csv"


def test_scores_alone(tmp_path: Path) -> None:
    log = read_log(written(tmp_path, "score\n0.5\n0.62\n-0.1\n"))
    assert log.scores.tolist() == [0.5, 0.62, -0.1]
    assert (log.users, log.times, log.accepted) == (None, None, None)
    assert log.rounding == pytest.approx(0.005)


def test_users_times_and_decisions_under_their_usual_names(tmp_path: Path) -> None:
    log = read_log(
        written(
            tmp_path,
            "time,claimed_identity,score,decision\n"
            "2026-05-04T08:00:00+00:00,bob,0.7,accept\n2026-05-04T09:00:00+00:00,eve,0.1,REJECT\n"
            "2026-05-04T10:00:00+00:00,bob,6.5e-1,1\n",
        )
    )
    assert log.users.tolist() == [0, 1, 0]
    assert np.diff(log.times).tolist() == [3600, 3600]
    assert log.accepted.tolist() == [True, False, True]
    assert log.rounding == pytest.approx(0.005)
    assert read_log(written(tmp_path, "score,time\n0.1,12.5\n")).times.tolist() == [12.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user\nbob\n", "line 1: expected the column score"),
        ("score\n", "expected attempts, got a heading alone"),
        ("score\nhigh\n", "line 2, field score: expected a cosine similarity from -1 to 1, got 'high'"),
        ("score\n0.5\nnan\n", "line 3, field score"),
        ("score\n12\n", "got '12'"),
        ("score,accepted\n0,63,1\n", "line 2: expected 2 fields, got 3; write numbers with a point"),
        ("score,user\n0.5,\n", "line 2, field user: expected a value, got nothing"),
        ("score,time\n0.5,noon\n", "field time: expected a time such as 2026-05-04T08:15:00, or seconds, got 'noon'"),
        ("score,time\n0.5,1767225600000\n", "line 2, field time: expected a time of the years 1 to 9999, .* by 1000"),
        ("score,time\n0.5,253402300800\n", "got '253402300800'; divide milliseconds by 1000"),
        ("score,time\n0.5,-1e12\n", "got '-1e12'"),
        ("score,time\n0.5,0001-01-01T00:00:00+05:00\n", "expected a time of the years 1 to 9999"),
        (
            "score,user,claimed_identity\n0.5,a,b\n",
            "line 1: expected one column of user, claimed_identity, identity, got user and claimed_identity; rename or",
        ),
        ("score,identity,claimed_identity\n0.5,a,b\n", "got claimed_identity and identity"),
        ("score,decision,accepted\n0.5,1,1\n", "expected one column of accepted, decision, got accepted and decision"),
        ("score,accepted\n0.5,maybe\n", "field accepted: expected 1 or 0, or accept or reject, got 'maybe'"),
    ],
)
def test_a_bad_value_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_log(written(tmp_path, text))
