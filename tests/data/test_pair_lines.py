"""Lists of pairs as people have them: tabs, names of several words, line ends, and what contradicts the manifest."""

from pathlib import Path

import pytest

from facexfer.data.manifest import FaceImage, Manifest
from facexfer.data.pair_lines import read_pair_line
from facexfer.data.pairs_file import ListedPair, read_pairs
from facexfer.errors import DataWarning, InputError

PEOPLE = [("Jane Doe", 1), ("Jane Doe", 2), ("Agent 47", 1), ("Agent 47", 3)]
EXPECTED = (ListedPair(0, 1, True, 0), ListedPair(0, 3, False, 0))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    images = (
        FaceImage(tmp_path / f"{who}_{number:04d}.png".replace(" ", "_"), who, "vis", "val") for who, number in PEOPLE
    )
    return Manifest(tmp_path / "images.csv", tuple(images))


def read(manifest: Manifest, text: str):
    path = manifest.path.parent / "pairs.txt"
    path.write_bytes(text.encode("utf-8"))
    return read_pairs(path, manifest)


@pytest.mark.parametrize(
    "text",
    [
        "1\t1\nJane Doe\t1\t2\nJane Doe\t1\tAgent 47\t3\n",
        "1 1\r\nJane Doe\t1\t2\r\nJane Doe\t1\tAgent 47\t3\r\n\r\n\r\n",
        "\ufeff1 1\nJane Doe 1 2\nJane  Doe 1 Agent 47 3",
        "Jane Doe\t1\t2\nJane Doe\t1\tAgent 47\t3\n",
        "\n1\nJane\u00a0Doe\t0001\t0002\t\n\nJane Doe \t 1\tAgent 47\t3\n",
    ],
)
def test_forms_of_one_list(manifest: Manifest, text: str) -> None:
    assert read(manifest, text) == EXPECTED


@pytest.mark.parametrize(
    "head",
    [
        "first,second,same,fold",
        "first, second, same, fold",
        '"first","second","same","fold"',
        "\ufefffirst,second,same,fold\r",
    ],
)
def test_forms_of_one_csv(manifest: Manifest, head: str) -> None:
    rows = "Jane_Doe_0001.png, Jane_Doe_0002.png, 1, 0\n./Jane_Doe_0001.png,Agent_47_0003.png,0,0\n"
    assert read(manifest, f"{head}\n{rows}") == EXPECTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1 1\nJane Doe\t1\tJane Doe\t2\nJane Doe\t1\tAgent 47\t3\n",
            "line 2: expected two persons as listed, the manifest has 'Jane Doe' in both",
        ),
        (
            "first,second,same,fold\nJane_Doe_0001.png,Agent_47_0001.png,1,0\n",
            "line 2: expected one person as listed, the manifest has 'Jane Doe' and 'Agent 47'",
        ),
        (
            "1 1\nJane Doe\t1\t1\nJane Doe\t1\tAgent 47\t3\n",
            "line 2: expected two images, got Jane_Doe_0001.png with itself",
        ),
        ("first,second,same,fold\na,b,c,1,0\n", "line 2: expected 4 fields, got 5"),
        ("first,second,same,fold\na\0,b,1,0\n", "line 2, field first: expected an image"),
        ("1 1\nJane Doe\t1\t2\nJane Doe\t1\tNobody\t3\n", "line 3: .* got 'Nobody' number '3'"),
        ("1 1\nJane Doe 1 2\nX 1 2 3 4\n", "line 3: .* names them in no ways; part names and numbers by tabs"),
        ("a,b\n", "line 1: expected 'folds pairs'.* or the columns first"),
        ("1 1\nJane\x07\t1\t2\nJane Doe\t1\tAgent 47\t3\n", r"line 2: expected a name on one line, got U\+0007"),
    ],
)
def test_bad_lists(manifest: Manifest, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(manifest, text)


def test_a_pair_twice_is_said(manifest: Manifest) -> None:
    with pytest.warns(DataWarning, match="pairs listed more than once: 1; each listing counts"):
        read(manifest, "2 1\nJane Doe\t1\t2\nJane Doe\t1\tAgent 47\t3\nJane Doe\t2\t1\nJane Doe\t2\tAgent 47\t3\n")


def test_where_everybody_has_one_image_the_list_tells_who_is_who(tmp_path: Path) -> None:
    images = tuple(FaceImage(tmp_path / f"{number}.png", f"photo {number}", "vis", "val") for number in range(3))
    manifest = Manifest(tmp_path / "images.csv", images)
    assert read(manifest, "first,second,same,fold\n0.png,1.png,1,0\n0.png,2.png,0,0\n")[0].same


def test_what_is_known_decides_where_a_name_ends() -> None:
    known = {("Agent 47", 1), ("Agent 47", 2), ("Agent", 47), ("1", 2)}
    with pytest.raises(InputError, match="in several ways"):
        read_pair_line("Agent 47 1 2", known.__contains__)
    assert read_pair_line("Agent 47\t1\t2", known.__contains__) == (("Agent 47", 1), ("Agent 47", 2), True)
    assert read_pair_line("Agent 47 1 2", lambda photo: photo[0] == "Agent 47")[2]
