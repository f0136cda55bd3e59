"""The CSV reader of every table: what it gives, and the line of what it refuses."""

from pathlib import Path

import pytest

from facexfer.errors import InputError
from facexfer.files.rows import read_rows, wrong_width


def test_rows_come_with_their_lines_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text('\ufeffname,note\n\na,"two\nlines"\nb\nc,d,e\n', encoding="utf-8")
    assert list(read_rows(file, ("name",))) == [
        (4, {"name": "a", "note": "two\nlines"}, 0),
        (5, {"name": "b", "note": ""}, -1),
        (6, {"name": "c", "note": "d"}, 1),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns name and note, got an empty file; name, note are missing"),
        ("name\na\n", "line 1: .* got name; note is missing"),
        ("name;note\na;b\n", "line 1: .* got name;note; name, note are missing; separate columns by commas"),
        ("name\tnote\na\tb\n", "name, note are missing; separate columns by commas"),
        ("name,note,name\n", "line 1: expected distinct columns"),
        ('name,note\n"a"b,c\n', "expected a readable table, got: "),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "table.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"table\.csv.*{message}"):
        list(read_rows(file, ("name", "note"), "table"))


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a table, got a folder; name the file in it, such as images\.csv"):
        list(read_rows(tmp_path, ("name",), "table"))


def test_what_to_do_about_a_row_depends_on_whether_it_is_too_long(tmp_path: Path) -> None:
    row = {"name": "a", "note": "", "more": ""}
    long, short = (str(wrong_width(tmp_path, 3, row, surplus)) for surplus in (1, -1))
    assert long.endswith("expected 3 fields, got 4; quote values that hold a comma")
    assert short.endswith("expected 3 fields, got 2; keep the comma of a column that is left empty")
