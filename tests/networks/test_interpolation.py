import pytest
import torch
from torch import nn

from facexfer.networks.interpolation import interpolate_weights


@pytest.mark.parametrize(("share", "expected"), [(0.0, 2.0), (0.5, 3.0), (1.0, 4.0)])
def test_weights_lie_between(share: float, expected: float) -> None:
    network, source = nn.Linear(3, 2), nn.Linear(3, 2)
    for each, value in ((network, 2.0), (source, 4.0)):
        for weights in each.parameters():
            nn.init.constant_(weights, value)
    interpolate_weights(network, source, share)
    assert all(torch.allclose(weights, torch.full_like(weights, expected)) for weights in network.parameters())


def test_statistics_are_left_alone() -> None:
    network, source = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    source.running_mean.fill_(5.0)
    interpolate_weights(network, source, 0.5)
    assert network.running_mean.tolist() == [0.0, 0.0]


def test_networks_of_different_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        interpolate_weights(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), nn.Linear(1, 1), 0.5)
