"""Files and folders that are whole or absent."""

import errno
from pathlib import Path
from typing import Any

import pytest

from facexfer.files.atomic import HALF_WRITTEN, making_folder, replacing


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


def test_two_writers_of_one_file_never_share_a_temporary_one(tmp_path: Path) -> None:
    # As two containers do, whose processes have one number.
    file = tmp_path / "crops.npy"
    with replacing(file) as first:
        first.write_text("half")
        with replacing(file) as second:
            second.write_text("whole")
        assert first.read_text() == "half"
        assert file.read_text() == "whole"
        first.write_text("whole, too")
    assert file.read_text() == "whole, too"
    assert list(tmp_path.iterdir()) == [file]


def test_two_makers_of_one_folder_never_share_a_temporary_one(tmp_path: Path) -> None:
    def late() -> None:
        with making_folder(tmp_path / "made"), making_folder(tmp_path / "made") as second:
            (second / "file").write_text("whole")

    with pytest.raises(OSError, match="not empty"):
        late()
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "file"]


def test_what_a_killed_process_leaves_is_found_by_its_name(tmp_path: Path) -> None:
    with replacing(tmp_path / "last.safetensors") as file, making_folder(tmp_path / "made") as folder:
        file.write_bytes(b"half")
        assert sorted(tmp_path.glob(HALF_WRITTEN)) == sorted([file, folder])


@pytest.mark.parametrize("make", [replacing, making_folder])
@pytest.mark.parametrize(("number", "named"), [(errno.ENOSPC, "out"), (errno.EACCES, "read.png")])
def test_a_full_disk_is_said_of_the_file_that_was_to_be_written(
    tmp_path: Path, make: Any, number: int, named: str
) -> None:
    """The error has no name when a write fails, and the name of the file that is read when a copy does."""

    def write() -> None:
        with make(tmp_path / "out"):
            raise OSError(number, "no", str(tmp_path / "read.png"))

    with pytest.raises(OSError, match="no") as caught:
        write()
    assert caught.value.filename == str(tmp_path / named)
