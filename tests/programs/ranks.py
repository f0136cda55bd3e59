"""Runs recipes and keeps what this rank has trained, and how many images it has embedded each time."""

import sys
from pathlib import Path

import lost_rank  # noqa: F401
import torch

from facexfer.engine import loop
from facexfer.engine.train import train
from facexfer.networks import embedding
from facexfer.recipe import read_recipe

make, embed = loop.make_objective, embedding.embed_alone
objectives, embedded = [], []


def make_and_keep(*given):
    objectives.append(make(*given))
    return objectives[-1]


def embed_and_count(backbone, images, size):
    embedded.append(len(images))
    return embed(backbone, images, size)


loop.make_objective, embedding.embed_alone = make_and_keep, embed_and_count
folder = Path(sys.argv[1])
for name in sys.argv[2:]:
    train(read_recipe(folder / f"{name}.toml"), folder / name, resume=False)
    kept = {"stages": [objective.state_dict() for objective in objectives], "embedded": list(embedded)}
    torch.save(kept, folder / f"{name}-{torch.distributed.get_rank()}.pt")
    objectives.clear()
