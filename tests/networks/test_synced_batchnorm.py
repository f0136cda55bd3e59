"""BatchNorm over all ranks: what is no plain BatchNorm is refused, not changed."""

import pytest
import torch
from torch import nn

from facexfer.backbones.parts.layers import FixedScaleBatchNorm1d
from facexfer.errors import InputError
from facexfer.networks.synced_batchnorm import SyncedBatchNorm, sync_batchnorm


def test_a_network_computes_the_same_afterwards() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 5), FixedScaleBatchNorm1d(5, eps=1e-3)
    )
    network(torch.randn(8, 3, 5, 5))
    images = torch.randn(2, 3, 5, 5)
    before = network.eval()(images)
    sync_batchnorm(network)
    assert [type(network[place]) for place in (1, 4)] == [SyncedBatchNorm, SyncedBatchNorm]
    torch.testing.assert_close(network(images), before)


def test_a_layer_that_does_more_is_refused_and_nothing_changes() -> None:
    layers = pytest.importorskip("timm.layers")
    network = nn.Sequential(nn.BatchNorm2d(4), layers.BatchNormAct2d(4))
    with pytest.raises(InputError, match="expected BatchNorm of torch, got BatchNormAct2d"):
        sync_batchnorm(network)
    assert type(network[0]) is nn.BatchNorm2d
