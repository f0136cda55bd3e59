"""``facexfer advise``: one page of text and a recipe, and bad input in one line."""

from pathlib import Path

import pytest
import torch
from command_line import run, status_of
from small_faces import write_small_set

from facexfer.backbones import create_backbone
from facexfer.recipe import read_recipe

NETWORK = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("advise")
    write_small_set(folder)
    torch.save(create_backbone(NETWORK).state_dict(), folder / "source.pt")
    return folder


def test_what_is_said(folder: Path) -> None:
    said = run("advise", folder / "images.csv", "--source", folder / "source.pt", "--backbone", NETWORK,
               "--out", folder / "recipe.toml")  # fmt: skip
    for words in (
        "trained on: 16 of modality 'nir', 4 people with 4 each",
        "embeddings of 32 numbers",
        "CSD, same shots: you have pictures of the same shots in both spectra.",
        "nir - nir, TAR in %: 85.7 -> 98.0 at FAR 0.01, 65.0 -> 93.9 at FAR 0.001",
        "Simulated or generated pictures, one network: no promise. Measure on your own.",
        "these pictures allow adabn, afa",
        "recipe.toml --out runs/mine",
    ):
        assert words in " ".join(said.split()), words
    recipe = read_recipe(folder / "recipe.toml")
    assert (recipe.method.name, recipe.companions.match) == ("csd", "capture")
    assert (recipe.optimizer.batch_size, recipe.optimizer.epochs) == (16, 164)


def test_bad_input_is_one_line_and_status_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "there.toml").write_text("")
    words = ["advise", folder / "images.csv", "--source", folder / "source.pt", "--backbone", NETWORK]
    for changed, message in (
        ([*words, "--out", tmp_path / "there.toml"], "expected a new file, it already exists"),
        ([*words, "--out", tmp_path / "absent/recipe.toml"], "expected an existing folder"),
        ([*words, "--modality", "thermal", "--visible-modality", "rgb"], "expected images of modality 'thermal'"),
        ([*words, "--modality", "vis"], "expected the names of two spectra, got 'vis' and 'vis'; give --modality"),
        ([*words, "--modality", ""], "expected the names of two spectra, got '' and 'vis'"),
        ([*words, "--visible-modality", " "], "expected the names of two spectra, got 'nir' and ' '"),
        (["advise", tmp_path / "absent.csv", *words[2:]], "expected a readable manifest"),
        (["advise", folder / "images.csv", "--source", tmp_path / "absent.pt"], "absent.pt"),
        (
            ["advise", folder / "images.csv", "--source", ""],
            "expected a source network, got an empty name; name weights",
        ),
        (
            ["advise", folder / "images.csv", "--source", tmp_path],
            "expected weights, a pack, a run or a bundle, got a f",
        ),
    ):
        assert status_of(monkeypatch, changed) == 2
        error = capsys.readouterr().err.splitlines()
        assert message in error[-1]
        assert error[-1].startswith("error: ")


@pytest.mark.parametrize("missing", ["manifest", "visible manifest"])
def test_a_missing_manifest_is_found_before_the_network_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """A line on the licence of the weights would stand before the error."""
    manifest = folder / ("absent.csv" if missing == "manifest" else "images.csv")
    words = ["advise", manifest, "--visible-manifest", folder / "absent.csv", "--source", folder / "source.pt"]
    assert status_of(monkeypatch, [*words, "--backbone", NETWORK]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "absent.csv: expected a readable manifest" in line
