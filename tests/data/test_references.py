"""Paths from a table to its pictures: plain where plain ones lead there, and through links where they do not."""

import os
from pathlib import Path

import pytest

from facexfer.data.references import as_listed, references


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of pictures ``set/p``, one ``deep/er`` that ``link`` leads to, and ``near``, a link to ``set/p``."""
    for folder in ("set/p", "deep/er"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "set" / "p" / "1.png").write_text("1")
    (tmp_path / "link").symlink_to("deep/er")
    (tmp_path / "near").symlink_to("set/p")
    return tmp_path


@pytest.mark.parametrize(
    ("picture", "folder", "expected"),
    [
        ("set/p/1.png", "set", "p/1.png"),
        ("set/p/1.png", "deep/er", "../../set/p/1.png"),
        ("set/p/none.png", "deep/../deep", "../set/p/none.png"),
        # Inside of a linked folder, and below a link without a step up, the plain path leads there.
        ("link/1.png", "link", "1.png"),
        ("near/1.png", ".", "near/1.png"),
        ("near/1.png", "deep", "../near/1.png"),
        # The system follows the link before it steps up.
        ("set/p/1.png", "link", "../../set/p/1.png"),
        ("near/../p/1.png", ".", "set/p/1.png"),
        ("set/p/1.png", "near/../set", "../p/1.png"),
    ],
)
def test_paths_lead_to_the_picture(home: Path, picture: str, folder: str, expected: str) -> None:
    (found,) = references([home / picture], home / folder)
    assert found == expected
    assert os.path.realpath(home / folder / found) == os.path.realpath(home / picture)


def test_a_picture_that_is_a_link_keeps_its_name(home: Path) -> None:
    (home / "set" / "other.png").symlink_to("p/1.png")
    assert references([home / "set" / "other.png"], home / "link") == ["../../set/other.png"]


def test_paths_of_the_process_are_as_absolute_ones(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    assert references([Path("set/p/1.png"), home / "set/p/1.png"], Path("link")) == ["../../set/p/1.png"] * 2
    assert as_listed(Path("set/p/1.png"), Path("link")) == "../set/p/1.png"
