"""Files and folders that are whole or absent."""

from pathlib import Path

import pytest

from facexfer.files.atomic import making_folder


def test_a_folder_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    with making_folder(tmp_path / "above" / "made") as folder:
        (folder / "file").write_text("whole")
        assert not (tmp_path / "above" / "made").exists()
    assert (tmp_path / "above" / "made" / "file").read_text() == "whole"
    assert [path.name for path in (tmp_path / "above").iterdir()] == ["made"]


def test_an_error_removes_it(tmp_path: Path) -> None:
    def fail() -> None:
        with making_folder(tmp_path / "made") as folder:
            (folder / "file").write_text("half")
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_keeps_its_name(tmp_path: Path) -> None:
    def late() -> None:
        with making_folder(tmp_path / "made"):
            (tmp_path / "made").mkdir()
            (tmp_path / "made" / "theirs").write_text("")

    with pytest.raises(OSError, match="not empty"):
        late()
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "theirs"]
