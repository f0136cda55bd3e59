"""How many of a data set's images folded BatchNorm is revived from."""

from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from facexfer.backbones import create_backbone
from facexfer.networks import batchnorm
from facexfer.networks.batchnorm import revive_on


@pytest.mark.parametrize(
    ("there", "seen"),
    [(3, [0, 1, 2]), (4, [0, 1, 2, 3]), (5, [0, 2, 4]), (8, [0, 2, 4, 6]), (9, [0, 3, 6]), (0, [])],
)
def test_at_the_most_as_many_as_asked_for_evenly_spread(
    there: int, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []

    def revive(network, batches):
        found.extend(round(value) for batch in batches for value in (batch[:, 0, 0, 0] * 128 + 127.5).tolist())
        return {}

    monkeypatch.setattr(batchnorm, "revive_batchnorm", revive)
    monkeypatch.setattr(batchnorm, "balance_scales", lambda network, statistics: None)
    backbone = create_backbone("mobilefacenet_slim")
    assert (backbone.info.mean[0], backbone.info.scale[0]) == (127.5, 1 / 128)
    numbers = torch.arange(there, dtype=torch.uint8)
    images: Any = TensorDataset(numbers.view(-1, 1, 1, 1).expand(-1, 3, 2, 2), numbers)
    revive_on(backbone, images, images=4, batch_size=2)
    assert found == seen
