import pytest
import torch
from torch import nn

from facexfer.backbones import create_backbone
from facexfer.errors import InputError
from facexfer.heads import LinearHead
from facexfer.transfer import methods
from facexfer.transfer.objective import Objective
from facexfer.transfer.stages import Need


def test_batchnorm_and_the_head_are_all_that_moves() -> None:
    torch.manual_seed(0)
    (stage,) = methods.create("dsbn")
    network = create_backbone("mobilefacenet")
    before = {name: values.clone() for name, values in network.state_dict().items()}
    head = LinearHead(network.info.embedding_size, 3)
    objective = Objective(network, head, stage, {}, (), network).train()
    optimizer = torch.optim.SGD(objective.parameter_groups(stage), lr=0.1)
    images = torch.randn(4, 3, *network.info.input_size)
    objective(images, torch.tensor([0, 1, 2, 0]))["classification"].backward()
    optimizer.step()
    changed = {name for name, values in network.state_dict().items() if not torch.equal(values, before[name])}
    owners = {network.get_submodule(name.rpartition(".")[0]) for name in changed}
    assert all(isinstance(owner, nn.modules.batchnorm._BatchNorm) for owner in owners)
    assert {name.rpartition(".")[2] for name in changed} >= {"weight", "bias", "running_mean", "running_var"}
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_companions_are_needed_where_they_are_read() -> None:
    (plain,), (guided,) = methods.create("dsbn"), methods.create("dsbn", identity_weight=0.0, weight=20.0)
    assert (plain.needs, plain.classification) == (frozenset(), 1.0)
    assert (guided.needs, guided.classification) == (frozenset({Need.COMPANIONS}), 0.0)
    assert [(term.name, term.alpha) for term in guided.terms] == [("companion", 20.0)]


@pytest.mark.parametrize("options", [{"identity_weight": 0.0}, {"weight": -1.0}])
def test_weights_that_make_no_objective(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="dsbn: expected weights"):
        methods.create("dsbn", **options)
