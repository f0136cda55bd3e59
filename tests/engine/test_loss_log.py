"""Losses on images not trained on: measured without a trace in what is trained afterwards."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from facexfer.engine.loss_log import mean_losses
from facexfer.heads import LinearHead
from facexfer.transfer.methods import create
from facexfer.transfer.objective import Objective


class Few(Dataset[tuple[torch.Tensor, int]]):
    labels = (0, 1, 1)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((3, 4, 4), 40 * index, dtype=torch.uint8), self.labels[index]

    def set_epoch(self, epoch: int) -> None:
        pass


def test_measuring_changes_neither_the_mode_nor_a_later_random_draw() -> None:
    backbone = nn.Sequential(nn.Dropout(), nn.Flatten())
    (stage,) = create("l2")
    objective = Objective(backbone, LinearHead(48, 2), stage, {}, (), copy.deepcopy(backbone)).train()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    (one, other) = (mean_losses(objective, Few(), lambda images: images / 255, size) for size in (2, 3))
    assert torch.equal(torch.rand(2), expected)
    assert objective.training
    assert one["classification"] == pytest.approx(other["classification"], rel=1e-5)
