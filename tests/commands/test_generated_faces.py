"""A grid that brings its own faces: drawn once, the same figures each time, other faces refused."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.commands.generated_faces import prepare_grid_faces
from facexfer.comparison.grid import GeneratedFaces, read_grid
from facexfer.data.manifest import read_manifest
from facexfer.errors import InputError

GRID = """
title = "Small"
recipe = "demo-l2"
figures = ["nir/tar@0.1"]
seeds = [0]
[generated]
train = 3
val = 2
shots = 2
[datasets.""]
settings = ["evaluation.fars=[0.1]", "optimizer.batch_size=4", "optimizer.epochs=1", "runtime.accelerator=cpu"]
[methods.L2]
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_DEMO", "unset")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
def test_two_comparisons_are_equal_to_the_last_bit(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(GRID)
    networks = []
    for name in ("one", "two"):
        result = CliRunner().invoke(app, ["compare", str(tmp_path / "grid.toml"), "--out", str(tmp_path / name)])
        assert result.exit_code == 0, (result.output, result.exception)
        networks.append(load_file(tmp_path / name / "runs/L2/seed0/model.safetensors"))
    assert networks[0].keys() == networks[1].keys()
    assert all(torch.equal(tensor, networks[1][name]) for name, tensor in networks[0].items())
    assert (tmp_path / "one/table.csv").read_bytes() == (tmp_path / "two/table.csv").read_bytes()


def test_faces_are_drawn_once_and_others_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    folder = tmp_path / "out" / "faces"
    drawn = []
    prepare_grid_faces(GeneratedFaces(train=2, val=2, shots=2), folder, lambda: drawn.append(1))
    prepare_grid_faces(GeneratedFaces(train=2, val=2, shots=2), folder, lambda: drawn.append(1))
    assert len(drawn) == 4
    images = read_manifest(folder / "data" / "images.csv").images
    assert len(images) == 16
    assert all(image.path.is_file() for image in images)
    assert (os.environ["FACEXFER_DEMO"], os.environ["OMP_NUM_THREADS"]) == (str(folder), "1")
    with pytest.raises(InputError, match="faces: expected the faces of this grid, got others; give another --out"):
        prepare_grid_faces(GeneratedFaces(train=2, val=2, shots=2, seed=1), folder)


def test_the_packaged_grid_has_every_method() -> None:
    from facexfer.transfer.methods import METHODS

    grid = read_grid("generated")
    settings = [setting for method in grid.methods.values() for setting in method.settings]
    named = {setting.removeprefix("method.name=") for setting in settings if setting.startswith("method.name=")}
    named |= {method.recipe.removeprefix("demo-") for method in grid.methods.values() if method.recipe}
    # The grid's own recipe.
    # Other tests register methods of their own.
    assert named | {"l2"} == {
        name
        for name, make in METHODS.items()
        if "doctest" not in make.__code__.co_filename and make.__module__.startswith("facexfer.")
    }
    assert len(grid.seeds) == 5
