"""The contrast between a batch's embeddings and its companions', and a stage of it alone."""

import pytest
import torch
from torch.nn import functional as F

from facexfer.backbones import create_backbone
from facexfer.errors import InputError
from facexfer.heads import LinearHead
from facexfer.transfer import methods
from facexfer.transfer.companion_contrast import CompanionContrast
from facexfer.transfer.objective import Objective
from facexfer.transfer.stages import Need, Passes

# Each method of an added part, with the part's name.
PARTS = {"pdt": "prefix", "caim": "modulations"}


def passes(embeddings: torch.Tensor, labels: list[int], companions: torch.Tensor | None) -> Passes:
    return Passes(torch.tensor(labels), (), (), None, embeddings, companions=companions)


def test_contrast_by_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(6, 5, generator=generator)
    companions = F.normalize(torch.randn(6, 5, generator=generator))
    companions[3] = 0
    labels = [0, 0, 1, 1, -1, -1]
    units = F.normalize(embeddings)
    same, different = [], []
    for i in range(6):
        for j in (0, 1, 2, 4, 5):
            cosine = float(units[i] @ companions[j])
            if i == j or labels[i] == labels[j] != -1:
                same.append(1 - cosine)
            elif -1 not in (labels[i], labels[j]):
                different.append(max(0.0, cosine - 0.2))
    expected = sum(same) / len(same) + sum(different) / len(different)
    assert CompanionContrast(0.2)(passes(embeddings, labels, companions)).item() == pytest.approx(expected, rel=1e-5)


def test_nobody_is_pushed_away_from_a_picture_without_a_label() -> None:
    """It may be of the same person, as a companion that is shown itself; the fixed one draws it where it was."""
    embeddings = torch.tensor([[1.0, 0.1], [0.1, 1.0], [1.0, 0.2]], requires_grad=True)
    companions = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.3]]))
    term = CompanionContrast(0.0)
    loss = term(passes(embeddings, [-1, -1, -1], companions))
    own = 1 - F.cosine_similarity(embeddings, companions)
    assert loss.item() == pytest.approx(own.mean().item(), abs=1e-6)
    # With two labels, only their two pairs are of two persons.
    loss = term(passes(embeddings, [0, 1, -1], companions))
    units = F.normalize(embeddings)
    apart = (units[0] @ companions[1] + units[1] @ companions[0]) / 2
    assert loss.item() == pytest.approx((own.mean() + apart).item(), abs=1e-6)


@pytest.mark.parametrize("method", PARTS)
def test_what_a_method_asks_for(method: str) -> None:
    (stage,) = methods.create(method)
    assert stage.needs == {Need.COMPANIONS}
    assert stage.classification == 0
    with pytest.raises(InputError, match=f"{method}: expected a positive weight"):
        methods.create(method, weight=0.0)
    with pytest.raises(ValueError, match="expected the companions' embeddings"):
        CompanionContrast(0.0)(passes(torch.ones(1, 2), [0], None))


@pytest.mark.parametrize("method", PARTS)
def test_a_network_without_the_part_says_what_to_set(method: str) -> None:
    (stage,) = methods.create(method)
    network = create_backbone("mobilefacenet")
    with pytest.raises(InputError, match=f'set source.backbone = "{method}:NAME"'):
        Objective(network, LinearHead(network.info.embedding_size, 2), stage, {}, (), network)


@pytest.mark.parametrize(("method", "part"), PARTS.items())
def test_the_part_alone_is_trained(method: str, part: str) -> None:
    (stage,) = methods.create(method)
    network = create_backbone(f"{method}:mobilefacenet")
    objective = Objective(network, LinearHead(network.info.embedding_size, 2), stage, {}, (), network).train()
    trained = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    assert trained == {f"backbone.{part}.{name}" for name, _ in network.get_submodule(part).named_parameters()}
    assert not network.get_submodule("network").training
