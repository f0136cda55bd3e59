"""The figures that ``facexfer advise`` quotes are those of the result pages, row by row."""

import csv
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "measured_table.py"))


def test_the_table_of_the_package_is_what_the_pages_say() -> None:
    packaged = (ROOT / "facexfer/advice/measured.csv").read_text()
    assert packaged == TOOL["as_csv"](TOOL["measured_rows"]()), "run tools/measured_table.py"


def test_every_row_stands_in_its_page() -> None:
    rows = list(csv.DictReader((ROOT / "facexfer/advice/measured.csv").read_text().splitlines()))
    pages = {
        name: (ROOT / name).read_text().replace("**", "").replace("`", "") for name in {r["document"] for r in rows}
    }
    assert len(rows) > 20
    for row in rows:
        line = next(line for line in pages[row["document"]].splitlines() if line.startswith(f"| {row['row']} |"))
        assert row["within"] in line
        assert row["across"] in line
    assert {row["recipe"] for row in rows} >= {"nirsim-l2", "nirsim-csd", "nirsim-adabn", "demo-l2"}


def test_variants_of_a_recipe_are_left_out_and_a_damaged_cell_is_named(tmp_path: Path) -> None:
    rows = TOOL["measured_rows"]()
    assert not [row for row in rows if "method.variant" in row["row"]]
    for name in {table.document for table in TOOL["TABLES"]}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "facexfer").symlink_to(ROOT / "facexfer")
    page = tmp_path / "RESULTS.md"
    page.write_text(re.sub(r"97\.3 / 92\.4 / 83\.1", "97.3 / 92.4", page.read_text()))
    with pytest.raises(ValueError, match="expected 3 figures per cell, got '97.3 / 92.4'"):
        TOOL["measured_rows"](tmp_path)


@pytest.mark.parametrize("direction", ["VIS to NIR", "NIR to VIS"])
def test_the_generated_page_has_the_means_of_its_runs(direction: str) -> None:
    """``docs/experiments/generated.csv`` is what ``facexfer compare generated`` wrote."""
    folder = ROOT / "docs" / "experiments"
    figures: dict[str, dict[str, list[float]]] = {}
    for run in csv.DictReader((folder / "generated.csv").read_text().splitlines()):
        if run["dataset"] == direction and run["value"]:
            figures.setdefault(run["method"], {}).setdefault(run["figure"], []).append(100 * float(run["value"]))
    table = replace(TOOL["TABLES"][-1], heading=f"From {direction}")
    _, (_, _, *rows) = TOOL["_section"](table, (folder / "generated.md").read_text())
    page = {name: cells for name, *cells in rows}
    names = {"L2-FE": "source, untouched (L2-FE)", "L2": "plain fine-tuning (L2)"}
    assert page.keys() == {names.get(method, method) for method in figures}
    for method, of_method in figures.items():
        *cells, seeds = page[names.get(method, method)]
        pairs = [[of_method[f"{pair}/tar@{far}"] for far in ("0.01", "0.001")] for pair in ("nir", "vis-nir", "vis")]
        assert cells == [" / ".join(f"{np.mean(values):.1f}" for values in pair) for pair in pairs], method
        assert seeds == str(len(pairs[0][0])), method
