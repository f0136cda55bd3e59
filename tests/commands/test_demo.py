"""The demo runs to its end on tiny settings, and what it leaves behind is whole."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.errors import InputError

TINY = [
    "--train-people", "4", "--val-people", "5", "--shots", "4",
    "--set", "optimizer.epochs=1", "--set", "optimizer.batch_size=8", "--set", "runtime.accelerator=cpu",
]  # fmt: skip


@pytest.mark.slow
def test_the_demo_runs_and_leaves_page_runs_and_network(tmp_path: Path) -> None:
    out = tmp_path / "demo [red]"
    result = CliRunner().invoke(app, ["demo", "--out", str(out), *TINY])
    assert result.exit_code == 0, result.output
    assert all(f"{out}/{name}" in result.output for name in ("data", "csd", "report.html", "report.json", "model.onnx"))
    for file in (
        "report.html",
        "model.onnx",
        "afa/result.json",
        "csd/result.json",
        "plain/result.json",
        "source.safetensors",
    ):
        assert (out / file).is_file(), file
    page = (out / "report.html").read_text()
    for words in (
        "Before and after",
        "SAM",
        "correlation with those before training",
        "CAM",
        "source, untouched",
        "plain fine-tuning",
        "AFA",
        "CSD",
        "keeps most of VIS",
    ):
        assert words in page
    assert page.count("data:image/png;base64,") == 2
    assert "http://www.w3.org" in page  # the SVG's own name space
    assert not any(f'{way}="http' in page for way in ("src", "href"))
    report = json.loads((out / "report.json").read_text())
    assert set(report["figures"]) == {"vis", "nir", "vis-nir"}
    assert set(report["figures"]["nir"]) == {"source, untouched", "plain fine-tuning", "AFA", "CSD"}
    assert "keeps most of VIS" in result.output
    picture = tmp_path / "demo.png"
    tool = Path(__file__).parents[2] / "tools" / "docs" / "demo_picture.py"
    subprocess.run([sys.executable, tool, out, picture], check=True, timeout=120)
    assert cv2.imread(str(picture)).shape == (616, 990, 3)
    assert "facexfer train" in result.output
    assert "facexfer export" in result.output


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert list(tmp_path.iterdir()) == []


def test_a_seed_that_no_training_takes_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "demo"), "--seed", str(2**32)])
    assert refused.exit_code == 2
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "optimizer.epoch=1"], "did you mean 'optimizer.epochs'"),
        (["--set", "method.spatial_alhpa=1"], "unknown l2 option 'spatial_alhpa'"),
        (["--set", "head.scael=1"], "scael"),
        (["--set", "data.search_share=0.5"], "got data.search_share, which the image task reads"),
        (["--set", 'plugins=["none.py"]'], "none.py: expected a Python file"),
        (
            ["--train-people", "5", "--shots", "6"],
            "expected at least one batch of 32 images to train on, got 30 (5 people, 6 shots each); raise "
            "--train-people or --shots, or add --set optimizer.batch_size=30",
        ),
        (["--set", "data.train_identities=3"], "expected at least one batch of 32 images to train on, got 24"),
    ],
)
def test_what_cannot_be_trained_is_named_before_anything_is_drawn(
    words: list[str], message: str, tmp_path: Path
) -> None:
    refused = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "demo"), *words])
    assert isinstance(refused.exception, InputError)
    assert message in str(refused.exception)
    assert not (tmp_path / "demo").exists()
