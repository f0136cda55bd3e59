"""The network that a file, a run or a bundle holds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_faces import write_small_set

import facexfer
from facexfer.advice.source import read_source
from facexfer.backbones import create_backbone
from facexfer.errors import InputError
from facexfer.recipe import Recipe

NETWORK = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"


def test_weights_that_tell_their_network(tmp_path: Path) -> None:
    torch.save(create_backbone("mobilefacenet").state_dict(), tmp_path / "model.pt")
    source = read_source(tmp_path / "model.pt")
    assert (source.info.name, source.folded, source.has_classifier) == ("mobilefacenet", 0, False)
    assert source.weights == str(tmp_path / "model.pt")


def test_weights_that_do_not(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="expected weights that tell their network, got others; give --backbone NAME"):
        read_source(tmp_path / "other.pt")
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(InputError, match="expected a finished run with model.safetensors, found none; finish it with"):
        read_source(tmp_path)


@pytest.mark.slow
def test_a_run_and_a_bundle(recipe_for: Callable[..., Recipe], tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path / "faces")
    recipe = recipe_for(manifest, source={"backbone": NETWORK}, method={"name": "l2"}, optimizer={"iterations": 1})
    facexfer.train(recipe, tmp_path / "run")
    facexfer.export(tmp_path / "run", tmp_path / "bundle", opset=17, max_loss=1.0)
    for place, file in (("run", "run/model.safetensors"), ("bundle", "bundle/model.onnx")):
        source = read_source(tmp_path / place)
        assert source.info.name == NETWORK
        assert source.weights == str(tmp_path / file)
