"""An exponential moving average of a network's weights."""

import copy
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """A copy of a network that follows it slowly: ``average += (1 - decay) * (network - average)`` a step.

    Early on, when the copy is still the start, it follows faster: by ``(1 + n) / (10 + n)`` after n steps.

    Args:
        network: The network in training.
        decay: Between 0 and 1; 0.999 remembers about a thousand steps.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(network.weight)
        >>> average = WeightAverage(network, decay=0.0)
        >>> _ = nn.init.ones_(network.weight)
        >>> average.update(network)
        >>> average.network.weight.item()
        1.0
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay
        self._updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Follow the network by one step; statistics follow too, counters are taken over."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        theirs = network.state_dict()
        for name, mine in self.network.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], 1 - decay)
            else:
                mine.copy_(theirs[name])

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint must hold."""
        return {"updates": self._updates, "network": dict(self.network.state_dict())}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self._updates = state["updates"]
        self.network.load_state_dict(state["network"])
