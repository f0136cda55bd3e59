"""Runs recipes; keeps what this rank has trained and compared with, how many images it has embedded, and by what."""

import sys
from pathlib import Path
from typing import Any

import lost_rank  # noqa: F401
import torch
from torch import nn

from facexfer.data.training_set import TrainingSet
from facexfer.engine import loop
from facexfer.engine.stage import make_objective
from facexfer.engine.train import train
from facexfer.networks import embedding
from facexfer.recipe import read_recipe
from facexfer.transfer.objective import Objective

embed = embedding.embed_alone
objectives: list[Objective] = []
embedded: list[int] = []
measured: dict[str, torch.Tensor] = {}


def make_and_keep(*given: Any) -> Objective:
    objectives.append(make_objective(*given))
    return objectives[-1]


def embed_and_count(backbone: nn.Module, dataset: TrainingSet, batch_size: int) -> torch.Tensor:
    embedded.append(len(dataset))
    measured.clear()
    measured.update({name: tensor.clone() for name, tensor in backbone.state_dict().items()})
    return embed(backbone, dataset, batch_size)


loop.make_objective = make_and_keep  # type: ignore[attr-defined, assignment]
embedding.embed_alone = embed_and_count
folder = Path(sys.argv[1])
for name in sys.argv[2:]:
    train(read_recipe(folder / f"{name}.toml"), folder / name, resume=False)
    kept = {"stages": [objective.state_dict() for objective in objectives], "embedded": list(embedded)}
    kept["measured"] = dict(measured)
    kept["references"] = [objective.source.state_dict() for objective in objectives]
    torch.save(kept, folder / f"{name}-{torch.distributed.get_rank()}.pt")
    objectives.clear()
