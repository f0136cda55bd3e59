"""A learning curve is measured on the same people throughout, and what it predicts is what its runs imply."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_grid import write_small_grid
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.comparison.grid import cells_of, recipe_of
from facexfer.comparison.learning_curve import CurvePoint, comparison_of, read_curve_grid
from facexfer.data.manifest import read_manifest
from facexfer.errors import InputError
from facexfer.eval.power_law import PowerLaw
from facexfer.reports.learning_curve import describe_curve, sentence
from facexfer.runs.face_images import training_and_validation

GRID = """
title = "Small"
recipe = "{recipe}"
figure = "nir/tar@0.1"
people = [0.4, 0.6, 1]
images = [0.5]
[methods.L2]
"""
TRUE = PowerLaw(0.05, 0.9, 0.5, 0.3)
SIZES = [(30, 10), (30, 10), (60, 10), (60, 10), (120, 10), (120, 10), (240, 10), (240, 5), (240, 2)]
POINTS = [CurvePoint(*size, TRUE.error(*size)) for size in SIZES]


def test_parts_are_measured_on_the_same_people_and_the_whole_is_there_once(tmp_path: Path) -> None:
    grid = comparison_of(read_curve_grid(write_small_grid(tmp_path, GRID, iterations=1)))
    chosen = [recipe_of(grid, cell).data for cell in cells_of(grid)]
    sets = [training_and_validation(read_manifest(data.manifest), data) for data in chosen]
    assert len({validation.fingerprint() for _, validation in sets}) == 1
    assert all(set(training.identities).isdisjoint(validation.identities) for training, validation in sets)
    assert [len(training.identities) for training, _ in sets] == [2, 2, 3, 3, 5, 5, 5]
    assert [len(training.images) for training, _ in sets] == [8, 8, 12, 12, 20, 10, 10]


def test_a_share_of_the_images_is_one_of_each_spectrum(tmp_path: Path) -> None:
    file = write_small_grid(tmp_path, GRID, iterations=1)
    file.write_text(file.read_text().replace("title", "settings = [\"data.modality=['nir', 'vis']\"]\ntitle", 1))
    grid = comparison_of(read_curve_grid(file))
    chosen = [recipe_of(grid, cell).data for cell in cells_of(grid)]
    sizes = [len(training_and_validation(read_manifest(data.manifest), data)[0].images) for data in chosen]
    assert sizes == [16, 16, 24, 24, 40, 20, 20]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # Of 5 people, and at least 2 are trained on.
        ("[0.4, 0.6, 1]", "[0.2, 0.4, 1]", "at least 3 different numbers of people, got 2; add fractions"),
        ("images =", "draws = 1\nimages =", "more than 4 finished runs for a law with 4 parameters, got 4; add draws"),
        ("images = [0.5]", "draws = 1", "more than 3 finished runs for a law with 3 parameters, got 3; add draws"),
    ],
)
def test_parts_that_cannot_show_a_law_are_refused_before_anything_is_trained(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    curve = read_curve_grid(write_small_grid(tmp_path, GRID.replace(old, new), iterations=1))
    with pytest.raises(InputError, match=expected):
        comparison_of(curve)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return describe_curve(POINTS, 0.005)


def test_gains_and_the_prediction_of_the_whole_are_those_of_the_true_law(found: dict[str, Any]) -> None:
    assert found["whole"] == (240, 10)
    assert found["gain_of_people"]["gain"] == pytest.approx(TRUE.gain_of_people(240, 10), abs=1e-3)
    assert found["gain_of_images"]["gain"] == pytest.approx(TRUE.gain_of_images(240, 10), abs=1e-3)
    assert found["people_until"] == pytest.approx(TRUE.people_until(0.005, 10), rel=0.05)
    assert found["backtest"]["predicted"] == pytest.approx(found["backtest"]["measured"], abs=2e-3)


def test_the_sentence_says_both_gains_and_where_more_does_not_pay(found: dict[str, Any]) -> None:
    text = sentence("CSD", found)
    assert text.startswith("CSD: from 240 people, twice as many are predicted to gain ")
    assert "twice the images of each (10.0 now)" in text
    assert text.endswith("doubling them gains less than 0.5 points.")


def test_without_parts_of_the_images_nothing_is_said_of_them() -> None:
    found = describe_curve([point for point in POINTS if point.images == 10], 0.005)
    assert found["gain_of_images"] is None
    assert "images of each" not in sentence("CSD", found)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("people = [0.4, 0.4, 1]", "people: expected at least 3 different fractions"),
        ("people = [0.4, 0.6, 0.8]", "people: expected 1 among the fractions .*, got .0.4, 0.6, 0.8.; add it"),
        ("people = [0.4, 0.6, 2]", "people.2: .*less than or equal to 1"),
        ("people = [0.4, 0.6, 1]\nfractions = 3", "unknown key 'fractions'"),
        ("people = [0.4, 0.6, 1]\nseeds = [0, 0]", "expected each seed once, got 0 twice; leave one out"),
    ],
)
def test_a_bad_design_is_one_clear_line(tmp_path: Path, change: str, expected: str) -> None:
    path = write_small_grid(tmp_path, GRID.replace("people = [0.4, 0.6, 1]", change), iterations=1)
    with pytest.raises(InputError, match=expected):
        read_curve_grid(path)


@pytest.mark.parametrize("name", ["l2 / plain", ".x", ""])
def test_a_method_whose_name_is_no_folders_is_refused(tmp_path: Path, name: str) -> None:
    path = write_small_grid(tmp_path, GRID.replace("L2", f'"{name}"'), iterations=1)
    with pytest.raises(InputError, match=f"methods: expected a name that can be a folder's, got '{name}'"):
        read_curve_grid(path)


@pytest.mark.slow
def test_the_command_writes_json_and_plot_and_trains_nothing_twice(tmp_path: Path) -> None:
    path, out = write_small_grid(tmp_path, GRID, iterations=1), tmp_path / "out"
    words = ["plan", str(path), "--out", str(out), "--jobs", "2"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    times = {file: file.stat().st_mtime_ns for file in out.rglob("result.json")}
    assert len(times) == 7
    again = CliRunner().invoke(app, words, catch_exceptions=False)
    assert again.output.splitlines()[-1].startswith("L2: from 5 people")
    assert {file: file.stat().st_mtime_ns for file in out.rglob("result.json")} == times
    assert len(json.loads((out / "learning-curve.json").read_text())["L2"]["points"]) == 7
    assert all((out / f"learning-curve.{ending}").is_file() for ending in ("png", "svg"))


def test_a_learning_curve_searches_nothing(tmp_path: Path) -> None:
    searched = GRID + 'alpha = ["method.alpha"]\nalphas = [1.0]\n'
    with pytest.raises(InputError, match="expected no alphas in a learning curve, got some for method 'L2'"):
        read_curve_grid(write_small_grid(tmp_path, searched, iterations=1))
