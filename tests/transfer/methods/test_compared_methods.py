"""L2-SP, LwF, Soft Fine-tuning, DELTA and fixed attention: what trains, where gradients reach, zero, scale."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from facexfer.errors import InputError
from facexfer.heads import LinearHead
from facexfer.transfer.methods import create
from facexfer.transfer.objective import Objective, make_terms
from facexfer.transfer.prototypes import PrototypeClassifier
from facexfer.transfer.stages import Need, StageSetting
from facexfer.transfer.terms import channel_distance, delta_distance, spatial_distance

LAYERS = ("0", "3")
SHAPES = ((8, 12, 12), (8, 6, 6))


class Known:
    """A source about which everything is known."""

    def classifier(self, old_task, scale):
        torch.manual_seed(5)
        return nn.Linear(8, 6) if old_task == "classifier" else PrototypeClassifier(torch.randn(6, 8), scale)

    def channel_weights(self, layers):
        return tuple(torch.randn(c, generator=torch.Generator().manual_seed(c)).softmax(0) for c, _, _ in SHAPES)

    def mean_attention(self, layers):
        return tuple(torch.randn(h * w).softmax(0).view(h, w) for _, h, w in SHAPES)


def objective(name: str, **options: Any):
    torch.manual_seed(1)
    target = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    source = copy.deepcopy(target).eval().requires_grad_(False)
    (stage,) = create(name, **options)
    terms = make_terms(stage, StageSetting(SHAPES, 8, 5, source, target, LAYERS, Known()))
    return Objective(target, LinearHead(8, 5), stage, terms, LAYERS, source), stage


def batch():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(4, 3, 12, 12, generator=generator), torch.tensor([0, 1, 2, 4])


def source_batch(weight: float = 1.0):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(4, 3, 12, 12, generator=generator), torch.tensor([5, 1, 0, 2]), torch.tensor(weight)


METHODS = [
    ("l2_sp", {}), ("lwf", {}), ("lwf", {"old_task": "training_set"}), ("delta", {}),
    ("afa", {"attention": "fixed", "variant": "one_stage"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), METHODS)
def test_zero_at_the_start_in_eval_mode(name: str, options) -> None:
    module, _ = objective(name, **options)
    _, *parts = module.eval()(*batch()).values()
    assert parts
    assert all(part.item() == pytest.approx(0, abs=1e-7) for part in parts)


@pytest.mark.parametrize(("name", "options"), METHODS)
def test_gradients_reach_all_that_is_trained_and_nothing_else(name: str, options) -> None:
    module, _ = objective(name, **options)
    module.train()
    with torch.no_grad():
        module.backbone[0].weight.add_(0.1)
    torch.stack(list(module(*batch()).values())).sum().backward()
    for parameter_name, parameter in module.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, parameter_name
    assert {name for name, p in module.named_parameters() if not p.requires_grad} == (
        {f"terms.old_task.source_classifier.{each}" for each in (("weight", "bias") if not options else ("weight",))}
        if name == "lwf"
        else set()
    )
    assert all(parameter.grad is None for parameter in module.source.parameters())


def test_l2_sp_is_half_the_squared_distance_and_its_gradient_the_difference() -> None:
    module, stage = objective("l2_sp", alpha=2.0)
    with torch.no_grad():
        module.backbone[0].weight.add_(0.5)
        module.backbone[4].bias.sub_(1.0)
    expected = 2.0 * (8 * 3 * 9 * 0.25 + 8 * 1.0) / 2
    part = module.eval()(*batch())["weights"]
    assert part.item() == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(part, module.backbone[4].bias)
    assert gradient.tolist() == pytest.approx([-2.0] * 8)
    assert [group["weight_decay"] for group in module.parameter_groups(stage)] == [0.0, 0.01]


def test_double_precision_stays_double() -> None:
    # float32 cannot tell these from the source's weights.
    module, _ = objective("l2_sp", alpha=1.0)
    module = module.double()
    with torch.no_grad():
        for parameter in module.backbone.parameters():
            parameter += 1e-10
    images, labels = batch()
    loss = module(images.double(), labels)["weights"]
    assert loss.dtype == torch.float64
    assert loss > 0


def test_lwf_has_the_gradient_of_the_published_cross_entropy() -> None:
    module, stage = objective("lwf")
    with torch.no_grad():
        module.backbone[0].weight.mul_(1.5)
    module.eval()
    images, labels = batch()
    part = module(images, labels)["old_task"]
    term = module.terms["old_task"]
    theirs = (term.source_classifier(module.source(images)) / 2).softmax(1)
    cross_entropy = F.cross_entropy(term.target_classifier(module.backbone(images)) / 2, theirs)
    ours, published = (torch.autograd.grad(each, module.backbone[0].weight)[0] for each in (part, cross_entropy))
    assert torch.allclose(ours, published, atol=1e-7)
    assert part.item() > 0
    assert (stage.rate_factor, stage.backbone_decay, stage.needs) == (0.1, 1e-4, {Need.CLASSIFIER})


def test_lwf_can_warm_up_the_head_alone() -> None:
    first, second = create("lwf", warm_up=0.25)
    assert (first.trains_backbone, first.share, second.trains_backbone, second.share) == (False, 0.25, True, 0.75)
    with pytest.raises(InputError, match="expected warm_up from 0 to below 1, got 1"):
        create("lwf", warm_up=1.0)
    with pytest.raises(InputError, match="expected a positive temperature, got 0"):
        create("lwf", temperature=0)


def test_soft_fine_tuning_weighs_the_source_part_down_to_nothing() -> None:
    module, stage = objective("soft_ft")
    assert stage.needs == {Need.SOURCE_IMAGES, Need.CLASSIFIER}
    module.eval()
    images, labels, _ = source_batch()
    whole, half, none = (
        module(*batch(), *source_batch(weight))["source_classification"].item() for weight in (1.0, 0.5, 0.0)
    )
    classifier = module.terms["source_classification"].classifier
    assert whole == pytest.approx(F.cross_entropy(classifier(module.backbone(images)), labels).item(), rel=1e-6)
    assert (half, none) == (pytest.approx(whole / 2), 0)
    module.train()
    torch.stack(list(module(*batch(), *source_batch()).values())).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    with pytest.raises(ValueError, match="expected a batch of source images, got none"):
        module(*batch())


def test_delta_has_the_published_scale() -> None:
    module, _ = objective("delta", alpha=3.0)
    with torch.no_grad():
        module.backbone[0].bias.add_(1.0)
    module.eval()
    images, labels = batch()
    part = module(images, labels)["channels"].item()
    first = delta_distance(module.source[0](images), module.backbone[0](images), Known().channel_weights(LAYERS)[0])
    second = delta_distance(module.source[:4](images), module.backbone[:4](images), Known().channel_weights(LAYERS)[1])
    assert part == pytest.approx(3.0 * (first + second).item(), rel=1e-5)
    # Shifting every channel by 1 gives C / 2 * sum_j w_j = 4 in the first layer, whatever the weights.
    assert first.item() == pytest.approx(4, rel=1e-5)
    assert create("delta")[0].terms[0].alpha == pytest.approx(0.01 * 64)


def test_fixed_attention_is_the_learned_distance_under_one_attention_for_all() -> None:
    module, _ = objective("afa", attention="fixed", variant="one_stage", spatial_alpha=1.0, channel_alpha=1.0)
    assert not list(module.terms.parameters())
    with torch.no_grad():
        module.backbone[0].weight.mul_(1.5)
    module.eval()
    images, labels = batch()
    parts = module(images, labels)
    maps = [(module.source[:end](images), module.backbone[:end](images)) for end in (1, 4)]
    spatial, channel = list(module.terms["spatial"].buffers()), list(module.terms["channel"].buffers())
    expected = sum(spatial_distance(*pair, w.expand(4, -1, -1)).item() for pair, w in zip(maps, spatial, strict=True))
    assert parts["spatial"].item() == pytest.approx(expected, rel=1e-5)
    expected = sum(channel_distance(*pair, w.expand(4, -1)).item() for pair, w in zip(maps, channel, strict=True))
    assert parts["channel"].item() == pytest.approx(expected, rel=1e-5)
