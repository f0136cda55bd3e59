"""A list of runs, read from run folders written in their own form."""

import json
from pathlib import Path

import pytest

from facexfer.errors import InputError
from facexfer.recipe import parse_recipe
from facexfer.runs.folder import RunFolder
from facexfer.runs.listing import list_runs

BASE = {"source": {"backbone": "mobilefacenet"}, "data": {"manifest": "m.csv"}, "optimizer": {"iterations": 4}}


def write_run(path: Path, method: str, **sections: dict[str, int]) -> RunFolder:
    run = RunFolder(path)
    run.start(parse_recipe({**BASE, "method": {"name": method}, **sections}, "test"))
    run.log({"step": 2, "losses": {"classification": 1.0}})
    run.log({"step": 2, "figures": {"nir/tar@0.01": 0.5}})
    return run


def test_settings_are_what_differs_and_figures_the_newest(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "l2", runtime={"workers": 1})
    finished = write_run(tmp_path / "deep" / "b", "afa", evaluation={"every_epochs": 2})
    finished.log({"step": 4, "losses": {"classification": 0.5}})
    finished.save_result({"figures": {"nir/tar@0.01": 0.75, "nir/tar@1e-06": None}})
    first, second = list_runs(tmp_path)
    assert (first.name, first.finished, first.steps, first.figures) == ("a", False, 2, {"nir/tar@0.01": 0.5})
    assert (second.name, second.finished, second.steps) == ("deep/b", True, 4)
    assert second.figures == {"nir/tar@0.01": 0.75, "nir/tar@1e-06": None}
    assert first.settings == {"method.name": "l2"}
    assert (first.failure, second.failure) == (None, None)
    finished.save_failure("it diverged")
    assert list_runs(tmp_path)[1].failure == "it diverged"
    assert second.settings == {"method.name": "afa"}


def test_options_of_one_run_alone_are_shown_as_missing_in_the_other(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "l2")
    run = RunFolder(tmp_path / "b")
    run.start(parse_recipe({**BASE, "method": {"name": "afa", "second_rate": 0.3}}, "test"))
    first, second = list_runs(tmp_path)
    assert first.settings == {"method.name": "l2", "method.second_rate": None}
    assert second.settings["method.second_rate"] == 0.3
    assert second.figures == {}


def test_a_folder_without_runs_and_a_foreign_line_are_errors_and_half_a_line_is_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder with runs .*found none"):
        list_runs(tmp_path)
    run = write_run(tmp_path / "a", "l2")
    with run.metrics_file.open("a") as file:
        file.write(json.dumps({"step": 3})[:4])
    assert list_runs(tmp_path)[0].steps == 2
    with run.metrics_file.open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match="line 3: expected JSON"):
        list_runs(tmp_path)
