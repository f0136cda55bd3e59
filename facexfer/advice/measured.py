"""The figures that our own runs gave, as the result pages have them (written by ``tools/measured_table.py``)."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

_SEPARATOR = " / "
_FILE = "measured.csv"


@dataclass(frozen=True)
class Measured:
    """One row of a result page; TAR in %, one figure a FAR.

    Attributes:
        document: The page.
        data: What was trained on and measured.
        recipe: The recipe that was run.
        row: What the page says of the run.
        seeds: How many.
        steps: How many; None where the page does not say or nothing was trained.
        fars: The false accept rates, as fractions.
        within: Within the new spectrum, after.
        within_before: The untouched source.
        across: A gallery in the source's spectrum against probes in the new one, after.
        across_before: The untouched source.
        visible: Within the source's spectrum, after.
        visible_before: The untouched source.
    """

    document: str
    data: str
    recipe: str
    row: str
    seeds: int
    steps: int | None
    fars: tuple[float, ...]
    within: tuple[float, ...]
    within_before: tuple[float, ...]
    across: tuple[float, ...]
    across_before: tuple[float, ...]
    visible: tuple[float, ...]
    visible_before: tuple[float, ...]


def read_measured() -> tuple[Measured, ...]:
    """Read the table that comes with the package, in the order of the pages.

    Example:
        >>> next(row.within_before for row in read_measured() if row.recipe == "nirsim-l2")
        (85.7, 65.0, 34.9)
    """
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(
        Measured(
            row["document"],
            row["data"],
            row["recipe"],
            row["row"],
            int(row["seeds"]),
            int(row["steps"]) if row["steps"] else None,
            *(
                tuple(map(float, row[name].split(_SEPARATOR)))
                for name in ("fars", "within", "within_before", "across", "across_before", "visible", "visible_before")
            ),
        )
        for row in rows
    )


def first_of_each_set(rows: Sequence[Measured], recipes: Sequence[str]) -> tuple[Measured, ...]:
    """Choose the rows of some recipes: of each set of data the first, as the pages order them.

    Args:
        rows: As `read_measured` gives them.
        recipes: Their names.

    Returns:
        At most one row for each set of data.
    """
    chosen: dict[str, Measured] = {}
    for row in rows:
        if row.recipe in recipes:
            chosen.setdefault(row.data, row)
    return tuple(chosen.values())
