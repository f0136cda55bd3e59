"""Constraints at the lowest versions: one for each dependency."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
lowest_versions = runpy.run_path(str(ROOT / "tools" / "lowest_versions.py"))["lowest_versions"]


def test_every_floor_becomes_a_constraint() -> None:
    lines = lowest_versions(ROOT / "pyproject.toml")
    assert all(line.count("==") == 1 and line.endswith(".*") for line in lines)
    assert {"torch", "numpy", "timm"} <= {line.split("==")[0] for line in lines}


def test_a_dependency_without_a_floor_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\ndependencies = ["numpy"]\noptional-dependencies = {}\n')
    with pytest.raises(ValueError, match="expected name>=version, got 'numpy'"):
        lowest_versions(file)
