"""The files of examples/ run as a reader runs them, on pictures made here."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_faces import write_small_set
from torch import nn

import facexfer
from facexfer.backbones import create_backbone
from facexfer.data.augmentation import training_transform
from facexfer.data.manifest import read_manifest
from facexfer.errors import InputError
from facexfer.measure.embedder import embed_images
from facexfer.plugins import load_plugins

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    torch.manual_seed(0)
    write_small_set(folder / "faces", train=4, val=3)
    torch.save(create_backbone("mobilefacenet_slim").state_dict(), folder / "slim.pt")
    return folder


def run(name: str, *words: object):
    """Run an example as a process of its own, and give what it printed."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here_and_read_in_a_minute() -> None:
    files = {file.name: file.read_text() for file in EXAMPLES.glob("*.py")}
    text = Path(__file__).read_text()
    assert len(files) == 6
    for name, content in files.items():
        assert f'run("{name}"' in text
        assert content.count("\n") <= 50
    code = files["tar_of_a_folder.py"].split('"""', 2)[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize("name", ["distil", "own_network", "tar_of_a_folder", "transfer_from_a_dict"])
def test_an_example_without_its_arguments_says_how_it_is_called(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit, match=f"``python {name}.py [A-Z]"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_simulation_strength() -> None:
    assert run("simulation_strength.py") == ""
    load_plugins([EXAMPLES / "simulation_strength.py"])
    crop = np.full((112, 112, 3), (200, 150, 120), np.uint8)
    corners = {
        preset: np.mean([training_transform(preset, seed)(image=crop)["image"][:9, :9].std() for seed in range(40)])
        for preset in ("vis-to-nir-half", "vis-to-nir", "vis-to-nir-double")
    }
    assert corners["vis-to-nir-half"] < corners["vis-to-nir"] < corners["vis-to-nir-double"]


@pytest.mark.slow
def test_tar_of_a_folder(place: Path) -> None:
    network = create_backbone("mobilefacenet_slim", weights=place / "slim.pt")
    assert facexfer.export(network, str(place / "slim.onnx")).path == place / "slim.onnx"
    printed = run("tar_of_a_folder.py", place / "slim.onnx", place / "faces" / "nir")
    assert re.search(r"FAR 0\.1: TAR [\d.]+ % \(95 % CI by identity [\d.]+ to [\d.]+ %\)", printed)
    assert "FAR 0.001 needs at least 1,000 impostor pairs" in printed


@pytest.mark.slow
def test_own_method(place: Path) -> None:
    printed = run("own_method.py", place / "slim.pt", place / "faces" / "images.csv", place / "angle")
    assert "nir/tar@0.1" in printed
    assert '"angle"' in (place / "angle" / "metrics.jsonl").read_text()


@pytest.mark.slow
def test_distil(place: Path) -> None:
    network = create_backbone("mobilefacenet_slim", weights=place / "slim.pt")
    facexfer.export(network, str(place / "teacher.onnx"))
    pupil = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=64)"
    words = (place / "teacher.onnx", pupil, 12, place / "pupil.safetensors", place / "faces" / "images.csv")
    cosines = [float(each) for each in re.findall(r"mean cosine (-?[\d.]+)", run("distil.py", *words))]
    assert len(cosines) == 12
    assert cosines[-1] > cosines[0] + 0.1
    images = [row.path for row in read_manifest(place / "faces" / "images.csv").images[:4]]
    assert embed_images(facexfer.load(place / "pupil.safetensors", pupil), images).shape == (4, 64)


@pytest.mark.slow
def test_transfer_from_a_dict(place: Path) -> None:
    printed = run("transfer_from_a_dict.py", place / "slim.pt", place / "faces" / "images.csv", place / "afa")
    assert "new minus old at FAR 0.1" in printed
    assert (place / "afa" / "report" / "report.html").is_file()


@pytest.mark.slow
def test_own_network(place: Path) -> None:
    layers = [nn.Conv2d(3, 16, 3, stride=4), nn.BatchNorm2d(16), nn.PReLU(16), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(256, 64))
    torch.save(network.state_dict(), place / "own.pt")
    printed = run("own_network.py", place / "own.pt", place / "faces" / "nir", place / "own.onnx")
    assert "within" in printed
    assert (place / "own.onnx").is_file()


def test_a_network_of_ones_own_must_say_how_its_images_enter() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert create_backbone(network, mean=127.5, scale=1 / 128).info.embedding_size == 3
    with pytest.raises(InputError, match="expected mean and scale with your own network"):
        create_backbone(network)
    with pytest.raises(InputError, match=r"expected embeddings \(N, D\) of AdaptiveAvgPool2d, got \(2, 3, 1, 1\)"):
        create_backbone(network[0], mean=0.0, scale=1.0)
