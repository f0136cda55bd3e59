"""The average of weights over the steps."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_faces import write_small_set

from facexfer.engine.stage import make_average
from facexfer.engine.train import train
from facexfer.recipe import Recipe
from facexfer.runs.folder import RunFolder, load_backbone_file
from facexfer.runs.state import load_state


def test_the_average_of_weights_follows_by_its_decay() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.zero_()
    average = make_average(network, decay=0.1)
    with torch.no_grad():
        network.weight.fill_(1.0)
    average.update_parameters(network)
    assert average.state_dict()["module.weight"].item() == pytest.approx(0.9)
    again = make_average(network, decay=0.1)
    again.load_state_dict(average.state_dict())
    assert again.state_dict()["module.weight"].item() == average.state_dict()["module.weight"].item()


def test_a_checkpoint_opens_as_the_network_that_is_measured(recipe_for: Callable[..., Recipe], tmp_path: Path) -> None:
    small = {"backbone": "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"}
    manifest = write_small_set(tmp_path / "faces", train=2, val=2, images=4)
    settings = {"average_decay": 0.9, "iterations": 2, "batch_size": 8}
    recipe = recipe_for(manifest, method={"name": "l2"}, source=small, optimizer=settings)
    train(recipe, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    saved, opened = load_file(run.model_file), load_backbone_file(run.checkpoint_file).state_dict()
    assert saved.keys() == opened.keys()
    weights = [key for key in saved if not key.endswith("num_batches_tracked")]
    assert all(torch.equal(saved[key], opened[key]) for key in weights)
    last = load_state(run.checkpoint_file)["backbone"]
    assert not all(torch.equal(last[key], opened[key]) for key in weights)
