from typing import Any

import pytest
import torch
from torch.nn import functional as F

from facexfer.backbones import create_backbone
from facexfer.errors import InputError
from facexfer.heads import LinearHead
from facexfer.transfer import methods
from facexfer.transfer.methods.pdt import CompanionContrast
from facexfer.transfer.objective import Objective
from facexfer.transfer.stages import Need, Passes


def passes(embeddings, labels, companions):
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
            else:
                different.append(max(0.0, cosine - 0.2))
    expected = sum(same) / len(same) + sum(different) / len(different)
    assert CompanionContrast(0.2)(passes(embeddings, labels, companions)).item() == pytest.approx(expected, rel=1e-5)


def test_what_it_asks_for() -> None:
    (stage,) = methods.create("pdt")
    assert stage.needs == {Need.COMPANIONS}
    assert stage.classification == 0
    with pytest.raises(InputError, match="pdt: expected a positive weight"):
        methods.create("pdt", weight=0.0)
    with pytest.raises(ValueError, match="expected the companions' embeddings"):
        CompanionContrast(0.0)(passes(torch.ones(1, 2), [0], None))


def test_a_network_without_a_block_says_what_to_set() -> None:
    (stage,) = methods.create("pdt")
    network = create_backbone("mobilefacenet")
    with pytest.raises(InputError, match='set source.backbone = "pdt:NAME"'):
        Objective(network, LinearHead(network.info.embedding_size, 2), stage, {}, (), network)


def test_the_block_alone_is_trained() -> None:
    (stage,) = methods.create("pdt")
    network: Any = create_backbone("pdt:mobilefacenet")
    objective = Objective(network, LinearHead(network.info.embedding_size, 2), stage, {}, (), network).train()
    trained = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    assert trained == {f"backbone.prefix.{name}" for name, _ in network.prefix.named_parameters()}
    assert not network.network.training
