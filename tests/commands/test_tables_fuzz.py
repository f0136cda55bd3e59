"""Garbled tables and recipes through the whole command: a right answer, or one clear line and status 2."""

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_files import write_recipe
from small_faces import write_small_set

from facexfer.backbones import create_backbone
from facexfer.cli import main
from facexfer.errors import DataWarning, InputError
from facexfer.recipe import Recipe, read_recipe
from facexfer.runs.folder import RunFolder

ROUNDS = int(os.environ.get("FACEXFER_FUZZ_ROUNDS", "12"))
PIECES = [
    b"\0", b"\n", b"\r\n", b",", b'"', b"\t", b" ", b"\xff", b"\xc3\xa9", b"e\xcc\x81", b"\xef\xbb\xbf",
    b"\xe2\x80\x8b", b"../", b"/", b"nir", b"NIR", b"val", b"p4", b"identity", b"-1", b"1e999", b"nan", b"=", b"[",
    b"]", b"[[", b"{", b"#", b"true", b"99999999999999999999", b"''", b'""', b"0x7fffffffffffffff", b"x" * 5000,
]  # fmt: skip


def garbled(data: bytes, draw) -> bytes:
    """Change a few places of a file: bytes and lines are put in, taken out, doubled or moved."""
    for _ in range(draw.choice((1, 1, 2, 5, 40))):
        place = draw.randrange(len(data) + 1)
        kind = draw.randrange(5)
        if kind == 0:
            data = data[:place] + draw.choice(PIECES) + data[place:]
        elif kind == 1:
            data = data[:place] + data[place + draw.choice((1, 1, 3, 50)) :]
        elif kind == 2 and data:
            data = data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]
        elif kind == 3:
            lines = data.split(b"\n")
            lines.insert(draw.randrange(len(lines)), draw.choice(lines))
            data = b"\n".join(lines)
        else:
            lines = data.split(b"\n")
            draw.shuffle(lines)
            data = b"\n".join(lines) if draw.random() < 0.3 else data[:place]
    return data


def run(words: Sequence[object], monkeypatch: pytest.MonkeyPatch, capfd) -> tuple[int, str, str]:
    """Run a command in this process; give its status and what it wrote."""
    monkeypatch.setattr("sys.argv", ["facexfer", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code, *capfd.readouterr()


def assert_clear(status: int, out: str, error: str, garbage: bytes) -> None:
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert status in (0, 2), (status, error, garbage)
    assert "Traceback" not in out + error, garbage
    assert len(lines) == (status == 2), (error, garbage)
    assert "nan" not in out.replace("nano", "") if status == 0 else len(lines[0]) > 20


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"), train=3, val=3, images=2)


@pytest.mark.filterwarnings(f"ignore::{DataWarning.__module__}.{DataWarning.__name__}")
def test_garbled_manifests(
    manifest: Path,
    recipe_for: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    recipe = recipe_for(manifest)
    network = RunFolder(tmp_path / "run")
    network.start(recipe)
    network.save_model(create_backbone("mobilefacenet_slim"), recipe)
    whole, table = manifest.read_bytes(), manifest.with_name("garbled.csv")
    draw, done = random.Random(0), 0
    for _ in range(ROUNDS):
        garbage = garbled(whole, draw)
        table.write_bytes(garbage)
        words = ["evaluate", "--model", tmp_path / "run", "--manifest", table, "--far", "0.5", "--probe", "nir"]
        status, out, error = run(words, monkeypatch, capfd)
        assert_clear(status, out, error, garbage)
        done += status == 0
        # Whoever is in the table is in at most all pairs of its pictures.
        assert status or int(out.split()[0].replace(",", "")) <= 6 * 11
    assert 0 < done < ROUNDS


@pytest.mark.filterwarnings(f"ignore::{DataWarning.__module__}.{DataWarning.__name__}")
def test_garbled_recipes(
    manifest: Path,
    recipe_for: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Read alone where a garbled recipe is good: training it would take its time."""
    recipe = recipe_for(manifest, companions={"modality": "vis"}, method={"name": "csd"})
    file = write_recipe(recipe, tmp_path / "whole.toml")
    monkeypatch.setattr("facexfer.engine.train.train", lambda recipe, out, resume: None)
    whole, table = file.read_bytes(), tmp_path / "garbled.toml"
    draw, statuses = random.Random(1), set()
    for _ in range(10 * ROUNDS):
        garbage = garbled(whole, draw)
        table.write_bytes(garbage)
        status, out, error = run(["train", table, "--out", tmp_path / "out"], monkeypatch, capfd)
        assert_clear(status, out, error, garbage)
        statuses.add(status)
        if status == 0:
            assert read_recipe(table)
    assert statuses == {0, 2}


WRONG = [
    "-1",
    "0",
    "1e999",
    "nan",
    '"x"',
    "true",
    "[]",
    "{}",
    "99999999999999999999",
    "[[1]]",
    '""',
    "1979-05-27",
    "-0.5",
]


@pytest.mark.parametrize("value", WRONG)
def test_wrong_values_of_every_key(value: str, manifest: Path, recipe_for: Callable[..., Any], tmp_path: Path) -> None:
    """Every key of a recipe with a value of the wrong kind or size: refused in one line, or a recipe."""
    file = write_recipe(recipe_for(manifest), tmp_path / "whole.toml")
    sections = read_recipe(file).model_dump()
    keys = [f"{name}.{key}" for name, values in sections.items() if isinstance(values, dict) for key in values]
    refused = []
    for key in [*keys, *sections]:
        try:
            assert isinstance(read_recipe(file, [f"{key}={value}"]), Recipe)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > len(sections)
    assert not [line for line in refused if "\n" in line]
