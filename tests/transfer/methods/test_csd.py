import math

import pytest
import torch

from facexfer.errors import InputError
from facexfer.transfer import methods
from facexfer.transfer.companion_distance import CompanionDistance
from facexfer.transfer.companion_maps import CompanionMaps
from facexfer.transfer.objective import Objective, make_terms
from facexfer.transfer.stages import Need, Passes, StageSetting


def passes(embeddings: torch.Tensor, companions: torch.Tensor | None) -> Passes:
    return Passes(torch.zeros(len(embeddings), dtype=torch.int64), (), (), None, embeddings, companions=companions)


def test_distance_by_hand() -> None:
    # The cosines are 1, 1/sqrt(2) and -1.
    embeddings = torch.tensor([[3.0, 0.0], [1.0, 1.0], [-2.0, 0.0]])
    companions = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    expected = (0 + (1 - 1 / math.sqrt(2)) + 2) / 3
    assert CompanionDistance()(passes(embeddings, companions)).item() == pytest.approx(expected, abs=1e-6)


def test_an_image_without_a_companion_is_left_out() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    companions = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    distance = CompanionDistance()(passes(embeddings, companions))
    distance.backward()
    assert distance.item() == pytest.approx(1.0)
    assert embeddings.grad[0].abs().sum() > 0
    assert embeddings.grad[1].abs().sum() == 0


def test_nobody_with_a_companion_gives_zero_and_not_nan() -> None:
    distance = CompanionDistance()(passes(torch.ones(2, 2), torch.zeros(2, 2)))
    assert distance.item() == 0


def test_the_length_of_an_embedding_does_not_matter() -> None:
    embeddings, companions = torch.randn(5, 8), torch.nn.functional.normalize(torch.randn(5, 8))
    once, twice = (CompanionDistance()(passes(scale * embeddings, companions)) for scale in (1.0, 7.0))
    assert once.item() == pytest.approx(twice.item(), abs=1e-6)


def test_without_companions_the_term_says_so() -> None:
    with pytest.raises(ValueError, match="expected the companions' embeddings"):
        CompanionDistance()(passes(torch.ones(1, 2), None))


def test_the_stage_asks_for_companions_and_reads_no_label() -> None:
    (stage,) = methods.create("csd")
    assert stage.needs == {Need.COMPANIONS, Need.COMPANION_MAPS}
    assert stage.classification == 0
    (stage,) = methods.create("csd", map_weight=0.0)
    assert stage.needs == {Need.COMPANIONS}
    assert [term.name for term in stage.terms] == ["companion"]


def with_maps(maps: torch.Tensor, companions: torch.Tensor | None) -> Passes:
    return Passes(
        torch.zeros(len(maps), dtype=torch.int64), (), (maps.new_zeros(len(maps), 3, 4, 4), maps), None, maps,
        companion_maps=companions,
    )  # fmt: skip


def test_distance_of_maps_by_hand() -> None:
    # Two channels, a row of two positions; cosines 1 and 0, then -1 and 1/sqrt(2); the last image has no companion.
    maps = torch.tensor([[[[2.0, 0.0]], [[0.0, 3.0]]], [[[-1.0, 1.0]], [[0.0, 1.0]]], [[[1.0, 1.0]], [[1.0, 1.0]]]])
    companions = torch.tensor(
        [[[[1.0, 1.0]], [[0.0, 0.0]]], [[[1.0, 1.0]], [[0.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]]
    )
    maps.requires_grad_()
    distance = CompanionMaps()(with_maps(maps, companions.half()))
    distance.backward()
    assert distance.item() == pytest.approx((0 + 1 + 2 + 1 - 1 / math.sqrt(2)) / 4, abs=1e-6)
    assert not maps.grad[2].any()
    assert CompanionMaps()(with_maps(maps[2:], companions[2:].half())).item() == 0
    with pytest.raises(ValueError, match="expected the companions' maps, got none"):
        CompanionMaps()(with_maps(maps, None))


@pytest.mark.parametrize(
    "options", [{"weight": -1.0}, {"weight": 0.0, "map_weight": 0.0}, {"identity_weight": -0.5}, {"map_weight": -1.0}]
)
def test_weights_that_make_no_objective(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="csd: expected weights"):
        methods.create("csd", **options)


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, images):
        return self.linear(images.mean(dim=(2, 3)))


class Classifier(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 4)

    def forward(self, embeddings, labels):
        return self.linear(embeddings)


@pytest.mark.parametrize(("identity_weight", "learns"), [(0.0, False), (1.0, True)])
def test_the_head_learns_only_where_labels_count(identity_weight: float, learns: bool) -> None:
    torch.manual_seed(0)
    backbone, head = Network(), Classifier()
    (stage,) = methods.create("csd", identity_weight=identity_weight, map_weight=0.0)
    terms = make_terms(stage, StageSetting((), 2, 4, backbone, backbone))
    objective = Objective(backbone, head, stage, terms, (), backbone)
    labels = torch.tensor([1, -1, 3])
    losses = objective(torch.randn(3, 3, 4, 4), labels, companions=torch.eye(3, 2))
    sum(losses.values()).backward()
    assert ("classification" in losses) is learns
    assert (head.linear.weight.grad is not None) is learns
    assert backbone.linear.weight.grad.abs().sum() > 0


def test_unlabelled_images_are_left_out_of_the_classification_loss() -> None:
    torch.manual_seed(0)
    backbone, head = Network(), Classifier()
    (stage,) = methods.create("l2")
    objective = Objective(backbone, head, stage, {}, (), backbone)
    images, labels = torch.randn(3, 3, 4, 4), torch.tensor([1, -1, 3])
    mixed = objective(images, labels)["classification"]
    alone = objective(images[[0, 2]], labels[[0, 2]])["classification"]
    assert mixed.item() == pytest.approx(alone.item(), rel=1e-6)
    assert objective(images[1:2], labels[1:2])["classification"].item() == 0
