"""Your own network as a backbone: what its facts may be given as, and what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from facexfer.backbones import BACKBONES, BackboneModule, create_backbone
from facexfer.backbones.known_networks import known_networks
from facexfer.backbones.parts.normalize import Normalize
from facexfer.errors import InputError


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 5))


@pytest.mark.parametrize("kind", [tuple, list, np.array, torch.tensor])
def test_facts_come_as_any_three_numbers_or_one(kind: Callable[[list[float]], Any]) -> None:
    mean, scale = kind([1.0, 2.0, 3.0]), kind([0.5, 0.25, 0.125])
    made = create_backbone(network(), input_size=[4, 4], mean=mean, scale=scale)
    assert made.info.mean == (1.0, 2.0, 3.0)
    assert made.info.scale == (0.5, 0.25, 0.125)
    assert made.info.input_size == (4, 4)
    assert hash(made.info) == hash(made.info)
    assert made(Normalize(made.info)(torch.zeros(2, 3, 4, 4))).shape == (2, 5)
    one = create_backbone(network(), input_size=(4, 4), mean=np.float32(127.5), scale=1)
    assert (one.info.mean, one.info.scale) == ((127.5,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("wrong", [[1.0], (1.0, 2.0), [1.0] * 4, "123", ["1", "2", "3"], [[1.0] * 3], float("nan"), {}])
@pytest.mark.parametrize("name", ["mean", "scale"])
def test_other_facts_are_refused(name: str, wrong: Any) -> None:
    with pytest.raises(InputError, match=f"expected {name} as one number or three, one per channel, got "):
        create_backbone(network(), input_size=(4, 4), **{"mean": 127.5, "scale": 1 / 127.5, name: wrong})


@pytest.mark.parametrize("wrong", [112, (112,), (112, 0), "11", (1.5, 2)])
def test_a_size_is_height_and_width(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"expected input_size as \(height, width\) in pixels, got "):
        create_backbone("mobilefacenet", input_size=wrong)


def test_a_network_that_cannot_be_made_without_options_leaves_the_others_known() -> None:
    @BACKBONES.register("of_a_width")
    def of_a_width(width: int) -> BackboneModule:
        return create_backbone(nn.Sequential(nn.Flatten(), nn.Linear(48, width)), input_size=(4, 4), mean=0, scale=1)

    @BACKBONES.register("of_another_class")
    def of_another_class() -> Any:
        return network()

    @BACKBONES.register("of_no_weights")
    def of_no_weights() -> BackboneModule:
        return create_backbone(nn.Flatten(), input_size=(4, 4), mean=0, scale=1)

    known_networks.cache_clear()
    names = {each.info.name for each in known_networks()}
    assert "mobilefacenet" in names
    assert not {"of_a_width", "of_another_class"} & names
    assert all(list(each.parameters()) for each in known_networks())
