"""A list of runs, read from run folders written in their own form."""

import json
from pathlib import Path

import pytest

from facexfer.commands.runs import runs
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
    finished.log({"step": 9, "figures": {"nir/tar@0.01": 0.75}})
    finished.save_result({"steps": 4, "figures": {"nir/tar@0.01": 0.75, "nir/tar@1e-06": None}})
    first, second = list_runs(tmp_path)
    assert (first.name, first.finished, first.steps, first.figures) == ("a", False, 2, {"nir/tar@0.01": 0.5})
    assert (second.name, second.finished, second.steps) == ("deep/b", True, 4)
    assert second.figures == {"nir/tar@0.01": 0.75, "nir/tar@1e-06": None}
    assert first.settings == {"method.name": "l2"}
    assert (first.failure, second.failure) == (None, None)
    finished.save_failure("it diverged")
    assert list_runs(tmp_path)[1].failure == "it diverged"
    assert second.settings == {"method.name": "afa"}


def test_a_loss_is_no_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", "l2").log({"step": 4, "figures": {"top1": 0.75, "test/classification": 0.31}})
    runs(tmp_path)
    said = capsys.readouterr().out
    assert "top1 75.00" in said
    assert "classification 0.31" in said


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
    (unreadable,) = list_runs(tmp_path)
    assert "line 3: expected a record with a step, as JSON" in (unreadable.unreadable or "")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("recipe.toml", "task = ", "recipe.toml"),
        ("metrics.jsonl", "[]\n", "line 1: expected a record with a step"),
        ("metrics.jsonl", "{}\n", "line 1: expected a record with a step"),
        ("metrics.jsonl", '{"step": 2, "figures": 1}\n', "line 1: expected a record with a step"),
        ("result.json", "{}", "expected the result of a finished run"),
        ("result.json", "[]", "expected the result of a finished run"),
        ("result.json", '{"figures": 1}', "expected the result of a finished run"),
        ("result.json", '{"figures": {"nir/tar@0.01": "much"}, "steps": 4}', "expected the result of a finished run"),
        ("result.json", '{"figures": {}}', "expected the result of a finished run, got none of its steps; remove the"),
        (
            "result.json",
            '{"figures": {}, "steps": "4"}',
            "got: steps that are '4'; remove the file, then finish the run with --resume",
        ),
    ],
)
def test_a_damaged_run_does_not_hide_the_others(
    file: str, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", "l2")
    write_run(tmp_path / "b", "afa")
    (tmp_path / "b" / file).write_text(text)
    whole, damaged = list_runs(tmp_path)
    assert (whole.name, whole.settings, whole.unreadable) == ("a", {}, None)
    assert said in (damaged.unreadable or "")
    with pytest.raises(InputError, match="expected runs that can be read, 1 of 2 cannot: b; "):
        runs(tmp_path)
    shown = capsys.readouterr().out
    assert shown.startswith("a: not finished, 2 steps\n")
    assert "\nb: cannot be read: " in shown
