"""The paper's figures from real small runs: two methods of one source, and a comparison by pictures per class."""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from small_pictures import write_pictures

from facexfer.cli import main
from facexfer.comparison.cells import Outcome
from facexfer.comparison.grid import Cell, Grid
from facexfer.comparison.table import write_tables
from facexfer.engine.train import train
from facexfer.errors import InputError
from facexfer.recipe import parse_recipe
from facexfer.reports.activation_maps import activation_maps, channel_maps
from facexfer.reports.attention import attention_figures
from facexfer.reports.loss_curves import loss_curves, read_curves
from facexfer.reports.overlays import overlay
from facexfer.reports.samples_per_class import read_samples, samples_per_class
from facexfer.runs.folder import RunFolder, load_backbone


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


def run(root: Path, folder: Path, **sections: Any):
    values = {
        "task": "image",
        "source": {"backbone": "mobilenet_v2", "input_size": 64},
        "data": {"dataset": "folders", "root": str(root)},
        "head": {"name": "linear", "start": "random"},
        "method": {"name": "l2"},
        "optimizer": {"iterations": 2, "batch_size": 4},
        "evaluation": {"untouched": False, "test_loss": True, "every_epochs": 0.5},
        "runtime": {"accelerator": "cpu", "log_every_steps": 1},
    }
    train(parse_recipe({**values, **sections}, "test"), folder, resume=False)
    return folder


@pytest.fixture(scope="module")
def runs(root: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("runs")
    methods = {"L2": {"name": "l2"}, "AFA": {"name": "afa", "spatial_alpha": 1e-4, "channel_alpha": 1e-4}}
    return {name: run(root, folder / name, method=method) for name, method in methods.items()}


def test_a_run_that_reads_no_label_has_its_total_alone(tmp_path: Path) -> None:
    losses = [{"companion": 0.5, "maps": 0.25}, {"companion": 0.25, "maps": 0.25}]
    lines = [json.dumps({"step": step, "losses": each}) for step, each in enumerate(losses, start=1)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    training, testing = read_curves(tmp_path)
    assert training == {"classification": [], "total": [(1, 0.75), (2, 0.5)]}
    assert testing == {"classification": [], "total": []}
    assert [len(axes.lines) for axes in loss_curves({"CSD": tmp_path}).axes] == [0, 1]


@pytest.mark.slow
def test_test_images_are_measured_in_double_precision_as_well(root: Path, tmp_path: Path) -> None:
    runtime = {"accelerator": "cpu", "precision": "64-true"}
    sections = {"optimizer": {"iterations": 1, "batch_size": 4}, "method": {"name": "delta"}, "runtime": runtime}
    folder = run(root, tmp_path / "run", **sections)
    assert [step for step, _ in read_curves(folder)[1]["total"]] == [1]


@pytest.mark.slow
def test_curves_are_of_training_and_testing_and_the_total_has_the_terms(runs) -> None:
    training, testing = read_curves(runs["AFA"])
    assert [step for step, _ in training["total"]] == [step for step, _ in testing["total"]] == [1, 2]
    records = [record for record in RunFolder(runs["AFA"]).metrics() if "test_losses" in record]
    assert [set(record["test_losses"]) for record in records] == [
        {"classification", "spatial"},
        {"classification", "channel"},
    ]
    # After its first step the network is no longer the source: the term counts.
    assert testing["total"][0][1] > testing["classification"][0][1] > 0
    measured = [r["figures"]["test/classification"] for r in RunFolder(runs["AFA"]).metrics() if "figures" in r]
    assert [loss for _, loss in testing["classification"]] == pytest.approx(measured, rel=1e-4)
    plain = read_curves(runs["L2"])[1]
    assert plain["total"] == plain["classification"]
    figure = loss_curves(runs)
    assert [len(axes.lines) for axes in figure.axes] == [4, 4]
    with pytest.raises(InputError, match="expected a run with losses"):
        read_curves(runs["L2"].parent)


@pytest.mark.slow
def test_activation_maps_have_a_row_a_picture_and_a_column_a_network(runs) -> None:
    figure = activation_maps(runs, channel=3, pictures=2)
    assert len(figure.axes) == 2 * (1 + 1 + 2)
    assert [axes.get_title() for axes in figure.axes[:4]] == ["picture", "source", "L2", "AFA"]
    network = load_backbone(runs["AFA"])
    pictures = np.zeros((1, 64, 64, 3), np.uint8)
    assert channel_maps(network, "trunk.features.9.conv.2", 63, pictures).shape == (1, 4, 4)
    with pytest.raises(InputError, match=r"expected a channel from 0 to 63 of layer 'trunk.features.9.conv.2', got 64"):
        channel_maps(network, "trunk.features.9.conv.2", 64, pictures)
    with pytest.raises(InputError, match="unknown layer 'trunk.features.99'"):
        activation_maps(runs, channel=0, layer="trunk.features.99")
    with pytest.raises(InputError, match="expected at least 5 test pictures, the run has 4"):
        activation_maps(runs, channel=0, pictures=5)


@pytest.mark.slow
def test_the_command_writes_both_attentions_as_png_and_svg(
    runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures, told = attention_figures(runs["AFA"], pictures=2)
    assert len(told) == 8
    assert told[0].startswith("ast trunk.features.5.conv.2: the largest of 64 weights is ")
    assert [len(figures[name].axes) for name in ("spatial-attention", "channel-attention")] == [2 * (1 + 4), 4]
    monkeypatch.setattr(sys, "argv", ["facexfer", "figures", "attention", str(runs["AFA"]), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [f"{name}-attention.{ending}" for name in ("channel", "spatial") for ending in ("png", "svg")]
    assert cv2.imread(str(tmp_path / "spatial-attention.png")).std() > 1
    assert ET.parse(tmp_path / "spatial-attention.svg").getroot().tag.endswith("svg")
    with pytest.raises(InputError, match="expected a run with learned attention"):
        attention_figures(runs["L2"])


@pytest.mark.slow
def test_accuracy_by_pictures_a_class_from_a_comparison(root: Path, tmp_path: Path) -> None:
    settings = {"title": "x", "recipe": "cub10-l2", "figures": ["top1"], "seeds": [0], "methods": {"L2": {}}}
    grid = Grid.model_validate({**settings, "datasets": {"two": {}, "four": {}}})
    outcomes = []
    for name, count in (("two", 2), ("four", 4)):
        cell = Cell(name, "", "L2")
        data = {"dataset": "folders", "root": str(root), "images_per_class": count}
        folder = run(
            root, tmp_path / "runs" / cell.key / "seed0", data=data, optimizer={"iterations": 1, "batch_size": 4}
        )
        outcomes.append(Outcome(cell, 0, folder, {"figures": {"top1": 0.5}}))
    write_tables(grid, outcomes, tmp_path)
    values = read_samples(tmp_path, "mean_class")
    assert list(values) == ["L2"]
    assert sorted(values["L2"]) == [2, 4]
    assert samples_per_class(tmp_path).axes[0].get_ylabel() == "top1, %"
    with pytest.raises(InputError, match="and the figure tar, found none"):
        read_samples(tmp_path, "tar")
    with pytest.raises(InputError, match=r"expected the folder of a comparison with table.csv"):
        read_samples(tmp_path / "runs", "top1")


def test_an_overlay_is_bright_where_the_weight_is_high() -> None:
    shown = overlay(np.zeros((8, 8, 3), np.uint8), np.array([[0.0, 0.0], [0.0, 1.0]]))
    assert shown[7, 7].sum() > 300
    assert shown[0, 0].sum() < 10
    assert overlay(np.zeros((8, 8, 3), np.uint8), np.ones((2, 2)), (0, 2)).sum() < shown[7, 7].sum() * 64
    flat = overlay(np.full((8, 8, 3), 100, np.uint8), np.ones((2, 2)))
    assert np.ptp(flat.reshape(-1, 3), axis=0).max() == 0


def test_names_fit_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["facexfer", "figures", "loss-curves", "a/seed0", "b/a", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "expected 2 different names for 2 runs, got a, a; give --name for each" in capsys.readouterr().err
