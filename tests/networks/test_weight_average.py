"""The average of weights over the steps."""

import pytest
import torch

from facexfer.networks.weight_average import WeightAverage


def test_the_average_of_weights_follows_by_its_decay():
    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.zero_()
    average = WeightAverage(network, decay=0.1)
    with torch.no_grad():
        network.weight.fill_(1.0)
    average.update(network)
    assert average.network.weight.item() == pytest.approx(0.9)
    again = WeightAverage(network, decay=0.1)
    again.load_state(average.state())
    assert again.network.weight.item() == average.network.weight.item()
