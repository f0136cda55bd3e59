"""Read tables of rows with a heading: one CSV reader for all files of the kind."""

import csv
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from facexfer.errors import InputError

POINTS = "write numbers with a point, and quote text with commas"
"""What to do where a row has too many fields: numbers may be written with a comma."""
Row = tuple[int, dict[str, str], int]
"""A line's number, its value in each column of the file, and how many fields it has too many (too few: below 0)."""


def read_rows(path: Path, required: Sequence[str], what: str = "CSV", called: str = "") -> Iterator[Row]:
    """Read a CSV, row by row.

    Args:
        path: The file; blank lines do not count.
        required: Columns that must be there, in any order, among others.
        what: What the file is, for the errors.
        called: What the errors call the required columns; nothing lists them.

    Yields:
        The rows; fields that are missing at the end of a line are empty.

    Raises:
        InputError: If the file cannot be read, or a column is missing or there twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows = filter(None, reader)
            columns = [column.strip() for column in next(rows, [])]
            check_columns(path, columns, required, called)
            for values in rows:
                filled = zip_longest(columns, values[: len(columns)], fillvalue="")
                yield reader.line_num, dict(filled), len(values) - len(columns)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected a {what} in UTF-8, got another encoding; save it as CSV in UTF-8"
        ) from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: expected a {what}, got a folder; name the file in it, such as images.csv") from error
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: expected a readable {what}, got: {error}; check the path") from error


def wrong_width(
    path: Path, line: int, row: dict[str, str], surplus: int, too_many: str = "quote values that hold a comma"
) -> InputError:
    """Make the error of a row that has more or fewer fields than the heading.

    Args:
        path: The file.
        line: The row's.
        row: Its value in each column.
        surplus: As `read_rows` counts it.
        too_many: What to do about a row with more fields.
    """
    advice = too_many if surplus > 0 else "keep the comma of a column that is left empty"
    return InputError(f"{path}, line {line}: expected {len(row)} fields, got {len(row) + surplus}; {advice}")


def check_columns(path: Path, columns: Sequence[str], required: Sequence[str], called: str = "") -> None:
    """Check the heading of a table.

    Raises:
        InputError: If a required column is missing, or one is there twice.
    """
    missing = [column for column in required if column not in columns]
    if missing:
        *others, last = required
        verb = "is" if len(missing) == 1 else "are"
        called = called or (f"{', '.join(others)} and {last}" if others else last)
        separated = any(mark in column for column in columns for mark in ";\t")
        advice = "; separate columns by commas" if separated else ""
        raise InputError(
            f"{path}, line 1: expected the {'columns' if others else 'column'} {called}, got "
            f"{', '.join(columns) or 'an empty file'}; {', '.join(missing)} {verb} missing{advice}"
        )
    if len(set(columns)) != len(columns):
        raise InputError(f"{path}, line 1: expected distinct columns, got {', '.join(columns)}; rename one")
