"""The average of weights over the steps."""

import pytest
import torch

from facexfer.engine.stage import make_average


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
