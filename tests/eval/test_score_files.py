"""Score files as other toolkits write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facexfer.errors import InputError
from facexfer.eval.score_files import read_scores


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Any]:
    def write(name: str, values):
        np.save(tmp_path / name, np.array(values))
        return tmp_path / name

    return write


def test_two_arrays(files: Callable[..., Any]) -> None:
    scores = read_scores(files("g.npy", [0.9, 0.8]), files("i.npy", [0.1, 0.2, 0.3]))
    assert (scores.genuine.tolist(), scores.impostor.tolist()) == ([0.9, 0.8], [0.1, 0.2, 0.3])


def test_distances_become_similarities(files: Callable[..., Any]) -> None:
    scores = read_scores(files("g.npy", [1, 2]), files("i.npy", [8, 9]), distances=True)
    assert scores.genuine.tolist() == [-1, -2]


def test_a_csv_with_both_kinds(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("a,b,score,same\nx,y,0.9,1\nx,z,0.2,0\ny,z,0.1,False\nx,x,0.7,genuine\n")
    scores = read_scores(path)
    assert (scores.genuine.tolist(), scores.impostor.tolist()) == ([0.9, 0.7], [0.2, 0.1])


def test_an_ending_may_be_in_capitals(tmp_path: Path) -> None:
    for name, text in (("G.TXT", "0.9\n0.8\n"), ("I.CSV", "0.1\n")):
        (tmp_path / name).write_text(text)
    scores = read_scores(tmp_path / "G.TXT", tmp_path / "I.CSV")
    assert (scores.genuine.tolist(), scores.impostor.tolist()) == ([0.9, 0.8], [0.1])
    with pytest.raises(InputError, match=r"G\.NPY: expected two \.npy files, genuine and impostor scores, got one"):
        read_scores(tmp_path / "G.NPY")


@pytest.mark.parametrize("heading", ["", "score\n"])
def test_two_text_files_of_one_score_a_line(tmp_path: Path, heading: str) -> None:
    genuine, impostor = tmp_path / "genuine.csv", tmp_path / "impostor.txt"
    genuine.write_text(heading + "0.9\n8e-1\n\n")
    impostor.write_text(heading + "0.1\n-0.2\n")
    scores = read_scores(genuine, impostor)
    assert (scores.genuine.tolist(), scores.impostor.tolist()) == ([0.9, 0.8], [0.1, -0.2])


@pytest.mark.parametrize("text", ["nan\n0.5\n", "0.5x\n0.5\n", "-inf\n", "0.5,1\n"])
def test_no_line_of_scores_is_dropped(tmp_path: Path, text: str) -> None:
    path = tmp_path / "genuine.txt"
    path.write_text(text)
    with pytest.raises(InputError, match="line 1, field score: expected a finite number"):
        read_scores(path, path)


def test_distances_taken_for_similarities_are_noticed(files: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"expected similarities, .*AUC 0\.000\); run it with --distances"):
        read_scores(files("g.npy", [0.1, 0.2]), files("i.npy", [0.8, 0.9]))
    with pytest.raises(InputError, match="expected distances, .*run it without --distances"):
        read_scores(files("g.npy", [0.8]), files("i.npy", [0.1]), distances=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("score\n1\n", "line 1: expected the columns score and same, got score"),
        ("score,same\n0.1,maybe\n", "line 2, field same: expected 1 or 0, got 'maybe'"),
        ("score,same\nnan,1\n", "line 2, field score: expected a finite number, got 'nan'"),
        ("score,same\n0.1,1\n,0\n", "line 3, field score: expected a finite number, got ''"),
        ("score,same\n0.1,1\n", "got 1 genuine and 0 impostor"),
        ("same,score\n1,0,9\n0,0,1\n", "line 2: expected 2 fields, got 3; write numbers with a point"),
    ],
)
def test_a_bad_csv_is_named_by_line_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_scores(path)


def test_lists_are_arrays_too() -> None:
    found = read_scores([0.9, 0.8], [0.1])
    assert (found.genuine.tolist(), found.impostor.tolist()) == ([0.9, 0.8], [0.1])
    with pytest.raises(InputError, match="got one array; give both, genuine first"):
        read_scores([0.9, 0.8])


def test_bad_arrays_are_errors(files: Callable[..., Any], tmp_path: Path) -> None:
    good = files("good.npy", [0.1])
    with pytest.raises(InputError, match="got 1 others, the first at 1"):
        read_scores(files("g.npy", [0.9, np.nan]), good)
    with pytest.raises(InputError, match=r"shape \(P,\)"):
        read_scores(files("g.npy", [[0.9]]), good)
    with pytest.raises(InputError, match="expected numbers, got <U1"):
        read_scores(files("g.npy", ["x"]), good)
    with pytest.raises(InputError, match=r"expected two \.npy files"):
        read_scores(good)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(InputError, match=r"cut\.npz: expected one array \(\.npy\), got an archive; save each array"):
        read_scores(tmp_path / "cut.npz", good)
    with pytest.raises(InputError, match="readable CSV"):
        read_scores(tmp_path / "absent.csv")
