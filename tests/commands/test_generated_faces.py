"""A grid that brings its own faces: drawn once, the same figures each time, other faces refused."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import facexfer
from facexfer.cli import app
from facexfer.commands.generated_faces import copy_source, prepare_grid_faces
from facexfer.comparison.grid import GeneratedFaces, cells_of, read_grid, recipe_of
from facexfer.data.generated.demo_set import draw_shots
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
    assert (tmp_path / "one/table.png").is_file()


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
    assert list(grid.datasets) == ["VIS to NIR", "NIR to VIS"]


def test_the_way_back_starts_from_the_nir_source_and_reads_nir_as_the_other_spectrum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACEXFER_DEMO", "demo")
    grid = read_grid("generated")
    for cell in cells_of(grid):
        back = cell.dataset == "NIR to VIS"
        recipe = recipe_of(grid, cell)
        assert recipe.source.weights is not None
        assert recipe.source.weights.name == ("source-nir.safetensors" if back else "source.safetensors")
        new, old = ("vis", "nir") if back else ("nir", "vis")
        assert recipe.data.modality in (new, ("nir", "vis"), (new, old)) or cell.method == "CSD, VIS alone"
        if cell.method == "xEdgeFace":
            assert recipe.data.modality == (new, old)
        for section in (recipe.source_data, recipe.companions):
            assert section is None or section.modality in (old, None)


def test_each_source_is_better_at_the_spectrum_that_it_was_trained_on(tmp_path: Path) -> None:
    shots = [draw_shots(seed=5, number=number, shots=2) for number in range(24)]
    margins = {}
    for source in ("vis", "nir"):
        copy_source(tmp_path / f"{source}.safetensors", source)
        for camera in ("vis", "nir"):
            crops = np.stack([shot[camera] for person in shots for shot in person])
            embeddings = facexfer.embed(tmp_path / f"{source}.safetensors", crops, backbone="mobilefacenet_slim")
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
            cosines = (embeddings @ embeddings.T).reshape(24, 2, 24, 2)
            genuine = cosines[np.arange(24), 0, np.arange(24), 1]
            margins[source, camera] = genuine.mean() - cosines.mean()
    assert margins["vis", "vis"] > margins["nir", "vis"] + 0.05
    assert margins["nir", "nir"] > margins["vis", "nir"] + 0.05
