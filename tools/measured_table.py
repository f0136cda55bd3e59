"""Write ``facexfer/advice/measured.csv``: the figures of the result pages that ``facexfer advise`` quotes.

Nothing is measured here and nothing is rounded: rows are copied from the documents. Run it after a table has changed;
``tests/tools/test_measured_table.py`` compares the two.
"""

import argparse
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "facexfer" / "advice" / "measured.csv"
_COLUMNS = {"NIR - NIR": "within", "VIS - NIR": "across", "VIS - VIS": "visible"}
_FIGURES = re.compile(r"[\d.]+( / [\d.]+)+")


@dataclass(frozen=True)
class Table:
    """A table of a document whose rows are quoted.

    Attributes:
        document: The page, from the repository's root.
        heading: The section that it stands in, by its beginning.
        data: What the figures are of.
        fars: The false accept rates of a cell.
        untouched: How the row of the untouched source begins.
        recipes: First cell -> recipe, for rows that do not name one.
    """

    document: str
    heading: str
    data: str
    fars: tuple[float, ...]
    untouched: str
    recipes: dict[str, str]


_THREE = (1e-2, 1e-3, 1e-4)
_STRONG = "lfw-nirsim nir: simulated NIR, strong shift, 255 people trained on, 80 others measured"
_WEAK = "lfw-nirsim nir-mild: simulated NIR, weak shift, 5 images of each of 255 people trained on, 80 others measured"
_SEARCH = "lfw-nirsim nir: simulated NIR, strong shift, 170 people trained on, 85 others measured"
_GENERATED = "generated faces, drawn by formulas: 60 people trained on, 60 others measured"
TABLES = (
    Table("RESULTS.md", "Cross-spectral distillation", _STRONG, _THREE, "untouched source", {}),
    Table("RESULTS.md", "Weak shift", _WEAK, _THREE, "untouched source", {}),
    Table(
        "docs/experiments/csd-settings.md", "The search", _SEARCH, _THREE, "untouched source", {},
    ),
    Table(
        "docs/experiments/generated.md", "From VIS to NIR", _GENERATED, (1e-2, 1e-3), "source, untouched",
        {"AdaBN": "demo-adabn", "plain fine-tuning (L2)": "demo-l2"},
    ),
)  # fmt: skip


def measured_rows(root: Path = ROOT) -> list[dict[str, str]]:
    """Read every row that names a recipe, or is named in `TABLES`, and is no variant of it made by ``--set``."""
    known = {file.stem for file in (root / "facexfer" / "recipes").glob("*.toml")}
    return [row for table in TABLES for row in _rows(table, root, known)]


def as_csv(rows: list[dict[str, str]]) -> str:
    """Write rows as the text of the file."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(table: Table, root: Path, known: set[str]) -> Iterator[dict[str, str]]:
    heading, (columns, _, *lines) = _section(table, (root / table.document).read_text(encoding="utf-8"))
    untouched = next(cells for cells in lines if cells[0].startswith(table.untouched))
    for cells in lines:
        named = [name for name in re.findall(r"`([\w-]+)`", cells[0]) if name in known]
        recipe = table.recipes.get(cells[0], named[0] if named else None)
        if recipe is None or re.search(r"--set (?!optimizer\.epochs)|method\.", cells[0]):
            continue
        steps = re.findall(r"([\d,]+) steps", f"{heading} {cells[0]}")
        row = {
            "document": table.document,
            "data": table.data,
            "recipe": recipe,
            "row": cells[0].replace("`", ""),
            "seeds": _seeds(cells, columns),
            "steps": steps[-1].replace(",", "") if steps else "",
            "fars": " / ".join(f"{far:g}" for far in table.fars),
        }
        for title, name in _COLUMNS.items():
            place = columns.index(title)
            row |= {name: _checked(cells[place], table), f"{name}_before": _checked(untouched[place], table)}
        yield row


def _seeds(cells: list[str], columns: list[str]) -> str:
    if "seeds" in columns:
        return cells[columns.index("seeds")]
    # RESULTS.md: one seed unless a row says otherwise.
    found = re.search(r"\b(two|three) seeds\b", cells[0])
    return {"two": "2", "three": "3"}[found[1]] if found else "1"


def _section(table: Table, text: str) -> tuple[str, list[list[str]]]:
    """A section's heading and the cells of its first table, without the marks of the winners."""
    section = next(part for part in re.split(r"^## ", text, flags=re.MULTILINE) if part.startswith(table.heading))
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip().replace("**", "") for cell in line.strip("|").split("|")] for line in lines]
    return section.splitlines()[0], [row for row in cells if len(row) == len(cells[0])]


def _checked(cell: str, table: Table) -> str:
    if not _FIGURES.fullmatch(cell) or cell.count("/") != len(table.fars) - 1:
        raise ValueError(
            f"{table.document}, {table.heading}: expected {len(table.fars)} figures per cell, got '{cell}'"
        )
    return cell


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    OUT.write_text(as_csv(measured_rows()), encoding="utf-8")
