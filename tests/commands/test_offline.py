"""No command opens a connection; `conftest` fails any test in which something tries to."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from recipe_files import write_recipe
from small_faces import write_small_set
from small_grid import write_small_grid
from typer.testing import CliRunner

from facexfer.backbones import create_backbone
from facexfer.cli import app
from facexfer.commands.entry import repeat_options
from facexfer.recipe import Recipe

GRID = 'title = "Small"\nrecipe = "{recipe}"\nfigures = ["nir/tar@0.1"]\nseeds = [0]\n[methods.L2]\n'
CURVE = 'title = "Small"\nrecipe = "{recipe}"\nfigure = "nir/tar@0.1"\npeople = [0.4, 0.6, 1]\n[methods.L2]\n'


def command_lines(folder: Path, recipe_for):
    """One small command line per command, in an order in which each finds what it needs already made."""
    manifest = write_small_set(folder / "faces")
    network = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"
    source, weights = {"backbone": network}, folder / "source.pt"
    torch.save(create_backbone(network).state_dict(), weights)
    recipe = recipe_for(manifest, source=source, data={"augmentation": "nir"}, method={"name": "l2"},
                        optimizer={"iterations": 2, "batch_size": 8},
                        evaluation={"pairs": [{"probe": "nir"}]})  # fmt: skip
    write_recipe(recipe, folder / "plain.toml")
    write_recipe(recipe_for(manifest, source=source, method={"name": "delta"}), folder / "delta.toml")
    grid = write_small_grid(folder / "grid", GRID, iterations=1)
    curve = write_small_grid(folder / "curve-grid", CURVE, iterations=1)
    (folder / "scores.csv").write_text("user,score\nada,0.5\n")
    photo = folder / "faces/nir/p0/0.png"
    return {
        "doctor": ["--out", folder / "runs"],
        "prepare": [folder / "faces/nir", "--layout", "folders", "--pre-cropped", "--out", folder / "prepared"],
        "simulate-nir": [folder / "faces", "--strength", "mild", "--out", folder / "simulated"],
        "split": [manifest, "--protocol", "identity-disjoint", "--out", folder / "split", "--draws", "2"],
        "merge": [manifest, folder / "prepared/images.csv", "--out", folder / "merged.csv"],
        "advise": [manifest, "--source", weights, "--backbone", network],
        "train": [folder / "plain.toml", "--out", folder / "runs/plain"],
        "runs": [folder / "runs"],
        "evaluate": ["--model", folder / "runs/plain", "--manifest", manifest, "--probe", "nir", "--far", "0.1",
                     "--report", folder / "report"],
        "inspect": [folder / "runs/plain/model.safetensors"],
        "export": [folder / "runs/plain", "--out", folder / "bundle", "--max-loss", "1", "--opset", "17"],
        "verify-bundle": [folder / "bundle", "--manifest", manifest],
        "monitor": [folder / "scores.csv", "--bundle", folder / "bundle", "--report", folder / "monitored"],
        "match": [photo, photo, "--bundle", folder / "bundle"],
        "delta-weights": [folder / "delta.toml", "--out", folder / "runs/delta"],
        "compare": [grid, "--out", folder / "compared"],
        "plan": [curve, "--out", folder / "curve"],
        "figures": ["loss-curves", folder / "runs/plain", "--out", folder / "figures"],
    }  # fmt: skip


@pytest.mark.slow
def test_no_command_opens_a_connection(recipe_for: Callable[..., Recipe], tmp_path: Path) -> None:
    lines = command_lines(tmp_path, recipe_for)
    names = [command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands]
    # test_demo.py runs the demo, under the same watch.
    assert lines.keys() | {"demo"} == {*names, *(group.name for group in app.registered_groups)}
    for name, words in lines.items():
        done = CliRunner().invoke(app, [name, *repeat_options(list(map(str, words)))])
        assert done.exit_code == 0, (name, done.output, done.exception)


def test_a_connection_would_be_seen_here_and_in_a_process_that_a_test_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = tmp_path / "connections"
    monkeypatch.setenv("FACEXFER_TEST_CONNECTIONS", str(record))
    with pytest.raises(OSError, match="nothing here may open a connection"):
        socket.create_connection(("example.com", 443))
    ask = "import urllib.request, contextlib\nwith contextlib.suppress(OSError): urllib.request.urlopen('https://example.com')"
    subprocess.run([sys.executable, "-c", ask], check=True)
    assert record.read_text().split("\n") == ["socket.getaddrinfo example.com"] * 2 + [""]


def test_albumentations_is_never_imported_with_its_check_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is set by ``import facexfer`` alone, whatever the environment said before."""
    program = (
        "import facexfer, os, sys\nassert 'albumentations' not in sys.modules\n"
        "import albumentations.check_version as check\nimport json\n"
        "print(json.dumps([os.environ['NO_ALBUMENTATIONS_UPDATE'], 'albumentations' in sys.modules]))"
    )
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "0")
    said = subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True)
    assert json.loads(said.stdout) == ["1", True]
    assert said.stderr == ""


def test_only_what_augments_imports_albumentations() -> None:
    """Measuring, matching and shipping pictures need no augmentation."""
    program = "import sys\n" + "\n".join(
        f"import facexfer.{room}"
        for room in ("cli", "measure.evaluation", "deploy.export", "deploy.matching", "data.preparation.prepare")
    )
    said = subprocess.run(
        [sys.executable, "-c", program + "\nprint('albumentations' in sys.modules)"],
        check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert said.stdout.strip() == "False"
    root = Path(__file__).resolve().parents[2] / "facexfer"
    users = {
        file.relative_to(root).as_posix() for file in root.rglob("*.py") if "import albumentations" in file.read_text()
    }
    assert users == {"data/augmentation.py", "data/nir_simulation.py", "data/crops.py", "data/image_dataset.py"}
