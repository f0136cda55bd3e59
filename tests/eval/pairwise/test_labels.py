"""Labels: compared as what they are, across widths and stores, or refused in one line."""

import numpy as np
import pytest

from facexfer.errors import InputError
from facexfer.eval.identification import enrol, identify, make_templates
from facexfer.eval.pairwise.labels import join_labels, read_captures, read_labels
from facexfer.eval.scores import gallery_probe_pairs

BIG = 1_788_000_000_000_000_000


def joined(first: np.ndarray, second: np.ndarray) -> list[list[int]]:
    return [
        codes.tolist() for codes in join_labels((first, len(first), "gallery labels"), (second, len(second), "probes"))
    ]


@pytest.mark.parametrize(
    ("first", "second", "codes"),
    [
        (np.array([BIG, BIG + 1]), np.array([BIG + 1, BIG], dtype=np.uint64), [[0, 1], [1, 0]]),
        (np.array([2**64 - 1], dtype=np.uint64), np.array([-1]), [[1], [0]]),
        (np.array([1, 2], dtype=np.int8), np.array([2.0, 1.0]), [[0, 1], [1, 0]]),
        (np.array([True, False]), np.array([1, 0], dtype=np.uint8), [[1, 0], [1, 0]]),
        (np.array(["p1", "p10"]), np.array([b"p10 ", b"p1"]), [[0, 1], [1, 0]]),
        (np.array(["Jose\u0301"]), np.array(["Jos\u00e9", "x" * 40]), [[0], [0, 1]]),
        (np.array(["07", "7"]), np.array(["7"], dtype=object), [[0, 1], [1]]),
        (np.array([2**70, 1], dtype=object), np.array([1]), [[1, 0], [0]]),
    ],
)
def test_labels_of_two_sources_are_compared_as_what_they_are(
    first: np.ndarray, second: np.ndarray, codes: list[list[int]]
) -> None:
    assert joined(first, second) == codes


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.array([7]), np.array(["07"]), "labels of numbers such as 7 and probes of text such as 07; save both"),
        (np.array(["7"]), np.array([7]), "labels of text such as 7 and probes of numbers such as 7"),
        (np.array([1.5]), np.array([1]), "whole numbers or text, got 1.5; floats hold"),
        (np.array([float(BIG)]), np.array([1]), r"got 1.788e\+18; floats hold whole numbers up to 2\^53"),
        (np.array([np.inf]), np.array([1]), "got inf"),
        (np.array([1j]), np.array([1]), "whole numbers or text"),
        (np.array([1, "1"], dtype=object), np.array([1]), "all whole numbers or all text, got both, 1 and '1'"),
        (np.array([None, "a"], dtype=object), np.array(["a"]), "labels without gaps, got 1, the first at 0"),
        (np.array(["a", " "]), np.array(["a"]), "labels without gaps, got 1, the first at 1"),
        (np.array(["\u200b"]), np.array(["a"]), "expected non-empty"),
        (np.array([b"\xff"]), np.array(["a"]), "text in UTF-8"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), np.array(["a"]), "got datetime64"),
        (np.array([["a"]]), np.array(["a"]), r"labels of shape \(1,\), got \(1, 1\)"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused(first: np.ndarray, second: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        joined(first, second)


def test_a_set_has_labels_of_one_form() -> None:
    assert read_labels(np.array([3, 1], dtype=np.uint8), 2).dtype == np.int64
    assert read_labels(np.array([b"a", "a "], dtype=object), 2).tolist() == ["a", "a"]
    with pytest.raises(InputError, match=r"labels of shape \(3,\)"):
        read_labels(np.array([1]), 3)


def test_captures_of_any_store_match_and_gaps_are_none() -> None:
    assert read_captures([None, "c ", b"c", ""], 4) == [None, "c", "c", None]
    assert read_captures(np.array([7.0, np.nan]), 2) == [7, None]
    assert read_captures(None, 2) == [None, None]
    with pytest.raises(InputError, match="expected 2 captures, got 1"):
        read_captures(["c"], 2)


def test_gallery_and_probes_keep_their_people_apart() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 2, 3]]
    ours, theirs = np.array([BIG, BIG + 1, BIG + 2, BIG + 3]), np.array([BIG, BIG + 1, BIG + 2, BIG + 3], dtype="u8")
    (point,) = gallery_probe_pairs(vectors, ours, vectors, theirs, [0.5])
    assert (point.genuine_pairs, point.impostor_pairs) == (4, 12)
    # NaN is no capture: no pair is left out.
    gaps = np.full(4, np.nan)
    (point,) = gallery_probe_pairs(vectors, ours, vectors, theirs, [0.5], gaps, gaps)
    assert (point.genuine_pairs, point.impostor_pairs) == (4, 12)


def test_identification_joins_labels_likewise() -> None:
    vectors = np.eye(3)
    found = identify(vectors, np.array(["a", "b", "c"]), vectors, np.array([b"a", b"b ", b"c"]), [0.5])
    assert found.rank1 == 1
    assert make_templates(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array(["a", "a "]))[1].tolist() == ["a"]
    # A capture's number is no position of an image.
    chosen = enrol(np.array([0, 0, 0]), np.array([2, None, None], dtype=object))
    assert (chosen.gallery.tolist(), chosen.probes.tolist()) == ([0], [1, 2])
