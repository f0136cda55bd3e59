import pytest
import torch
from torch import nn

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.prelu import PReLU
from facexfer.errors import InputError
from facexfer.heads import LinearHead
from facexfer.transfer.objective import Objective
from facexfer.transfer.partial import scales_and_first_layers
from facexfer.transfer.stages import Stage


def test_a_stage_trains_its_part_and_nothing_else() -> None:
    torch.manual_seed(0)
    network = create_backbone("mobilefacenet")
    before = {name: values.clone() for name, values in network.named_parameters()}
    stage = Stage("part", trained_part=scales_and_first_layers(0.1))
    objective = Objective(network, LinearHead(network.info.embedding_size, 3), stage, {}, (), network).train()
    groups = objective.parameter_groups(stage)
    optimizer = torch.optim.SGD(groups, lr=0.1)
    images = torch.randn(4, 3, *network.info.input_size)
    objective(images, torch.tensor([0, 1, 2, 0]))["classification"].backward()
    optimizer.step()
    changed = {name for name, values in network.named_parameters() if not torch.equal(values, before[name])}
    trained = {type(network.get_submodule(name.rpartition(".")[0])) for name in changed}
    convolutions = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    assert {name for name in convolutions if f"{name}.weight" in changed} == set(
        convolutions[: -(-len(convolutions) // 10)]
    )
    assert {PReLU, nn.BatchNorm2d} <= trained
    assert nn.Linear not in trained


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(InputError, match="expected a share of the convolutions from 0 to 1"):
        scales_and_first_layers(share)
