"""The objective: its parts, where gradients reach, what is frozen, what it holds."""

import copy
from typing import Any

import pytest
import torch
from hooks import count_hooks
from torch import nn

from facexfer.backbones import create_backbone
from facexfer.errors import InputError
from facexfer.heads import ArcFaceHead, LinearHead
from facexfer.transfer.methods import create
from facexfer.transfer.objective import Objective, make_terms
from facexfer.transfer.stages import Passes, Stage, StageSetting, Term, WeightedTerm

LAYERS = ("0", "3")
SHAPES = ((8, 12, 12), (8, 6, 6))


def backbone():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def objective(name: str, stage: int = 0, frozen_batchnorm: bool = False, **options: Any):
    target = backbone()
    source = copy.deepcopy(target).eval().requires_grad_(False)
    chosen = create(name, **options)[stage]
    terms = make_terms(chosen, StageSetting(SHAPES, 8, 5, source, target))
    return Objective(target, LinearHead(8, 5), chosen, terms, LAYERS, source, frozen_batchnorm), chosen


@pytest.mark.parametrize(
    ("method", "name"),
    [("l2", "iresnet18"), ("l2", "pdt:iresnet18"), ("xedgeface", "iresnet18"), ("l2_fe", "iresnet18")],
)
def test_what_a_network_holds_fixed_is_not_trained(method: str, name: str) -> None:
    """The source is frozen as a whole, so that nothing else tells what its copy may train."""
    target = copy.deepcopy(create_backbone(name).requires_grad_(False))
    (stage,) = create(method)
    module = Objective(target, LinearHead(512, 5), stage, {}, (), target)
    left = {key for key, parameter in target.named_parameters() if not parameter.requires_grad}
    fixed = {"network." * name.startswith("pdt:") + "features.weight"}
    assert left == fixed if method == "l2" else left > fixed
    groups: Any = module.parameter_groups(stage)
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    assert not any(id(target.get_parameter(key)) in trained for key in left)


def batch():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(4, 3, 12, 12, generator=generator), torch.tensor([0, 1, 2, 4])


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("l2", {}, ["classification"]),
        ("l2_fe", {}, ["classification"]),
        ("dfa", {}, ["classification", "feature"]),
        ("afa", {}, ["classification", "spatial"]),
        ("afa", {"variant": "one_stage"}, ["classification", "spatial", "channel"]),
    ],
)
def test_parts_are_named(name: str, options: dict[str, Any], parts: list[str]) -> None:
    assert list(objective(name, **options)[0](*batch())) == parts


@pytest.mark.parametrize("name", ["dfa", "afa"])
def test_alignment_is_zero_at_the_start_in_eval_mode_and_not_in_train_mode(name: str) -> None:
    module, _ = objective(name)
    _, part = list(module.eval()(*batch()).values())
    assert part.item() == 0
    # In train mode the target uses the batch's statistics from the first BatchNorm on.
    _, part = list(module.train()(*batch()).values())
    assert part.item() > 0


def test_frozen_batchnorm_keeps_alignment_zero_in_train_mode() -> None:
    module, _ = objective("dfa", frozen_batchnorm=True)
    module.train()
    before = copy.deepcopy(module.backbone.state_dict())
    _, part = list(module(*batch()).values())
    assert part.item() == 0
    assert all(torch.equal(before[key], value) for key, value in module.backbone.state_dict().items())


def test_alpha_scales_the_alignment() -> None:
    # fmt: off
    one, two = (list(objective("dfa", alpha=alpha)[0].train()(*batch()).values())[1].item() for alpha in (0.5, 1.0))
    # fmt: on
    assert two == pytest.approx(2 * one)


@pytest.mark.parametrize("name", ["l2", "dfa", "afa"])
def test_gradients_reach_backbone_head_and_attention_but_not_the_source(name: str) -> None:
    module, _ = objective(name)
    module.train()
    torch.stack(list(module(*batch()).values())).sum().backward()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None, parameter_name
    assert all(parameter.grad is None for parameter in module.source.parameters())


def test_feature_extraction_trains_the_head_alone() -> None:
    module, stage = objective("l2_fe")
    module.train()
    before = copy.deepcopy(module.backbone.state_dict())
    torch.stack(list(module(*batch()).values())).sum().backward()
    assert all(parameter.grad is None for parameter in module.backbone.parameters())
    assert all(torch.equal(before[key], value) for key, value in module.backbone.state_dict().items())
    assert not module.backbone.training
    (group,) = module.parameter_groups(stage)
    assert {id(p) for p in group["params"]} == {id(p) for p in module.head.parameters()}


def test_weight_decay_is_the_published_one() -> None:
    module, stage = objective("l2")
    assert [group["weight_decay"] for group in module.parameter_groups(stage)] == [1e-4, 1e-4]
    module, stage = objective("afa")
    assert [group["weight_decay"] for group in module.parameter_groups(stage)] == [0.0, 0.01, 0.0]


def test_the_source_is_no_part_of_the_module() -> None:
    module, _ = objective("afa")
    source = {id(parameter) for parameter in module.source.parameters()}
    assert not source & {id(parameter) for parameter in module.parameters()}
    assert not module.train().source.training
    assert not any("source" in key for key in module.state_dict())


def test_no_hook_is_left_also_after_an_exception() -> None:
    module, _ = objective("afa")
    module(*batch())
    with pytest.raises(IndexError):
        module(batch()[0], torch.tensor([0, 1, 2, 99]))
    assert count_hooks(module.backbone, module.source) == 0


def test_the_source_runs_only_where_a_term_reads_it() -> None:
    module, _ = objective("l2")
    module.source.register_forward_hook(lambda *_: pytest.fail("the source ran"))
    module(*batch())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [("afa", {"variant": "one_stage"}), ("csd", {"identity_weight": 1.0})])
def test_a_compiled_objective_gives_the_same_losses_and_gradients(name: str, options: dict[str, Any]) -> None:
    """By the compiler's front end alone: what it traces is compared, not what a C++ compiler makes of it."""
    results = []
    generator = torch.Generator().manual_seed(3)
    known = {
        "companions": torch.nn.functional.normalize(torch.randn(4, 8, generator=generator)),
        "companion_maps": torch.randn(4, *SHAPES[-1], generator=generator).half(),
    }
    for compiled in (False, True):
        torch.manual_seed(0)
        module, _ = objective(name, **options)
        if compiled:
            module.compile(backend="aot_eager", fullgraph=True)
        for _ in range(2):
            losses = module.train()(*batch(), **(known if module.reads_companions else {}))
        torch.stack(list(losses.values())).sum().backward()
        results.append((losses, [p.grad for p in module.parameters()]))
    (plain, gradients), (traced, traced_gradients) = results
    assert plain.keys() == traced.keys()
    for part in plain:
        assert torch.allclose(plain[part], traced[part], rtol=1e-5)
    for one, other in zip(gradients, traced_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    assert count_hooks(module.backbone) == 0


def test_margin_softmax_and_distances_stay_in_float32_under_bfloat16() -> None:
    module, _ = objective("afa", variant="one_stage")
    margin = ArcFaceHead(8, 5)
    seen = []
    module.head = margin
    margin.register_forward_hook(lambda head, inputs, output: seen.append((inputs[0].dtype, output.dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        losses = module.train()(*batch())
    assert seen == [(torch.bfloat16, torch.float32)]
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


class Confidence(Term):
    """The mean of the true class's logit, as a custom term may want it."""

    def forward(self, passes):
        return passes.logits.gather(1, passes.labels[:, None]).mean()


def test_a_term_sees_the_logits_with_their_gradient() -> None:
    network, head = backbone(), ArcFaceHead(8, 5)
    stage = Stage("custom", (WeightedTerm("confidence", 0.5, lambda setting: Confidence()),))
    terms = make_terms(stage, StageSetting((), 8, 5, network, network))
    module = Objective(network, head, stage, terms, (), network)
    images, labels = batch()
    losses = module(images, labels)
    expected = head(network(images), labels).gather(1, labels[:, None]).mean() / 2
    assert losses["confidence"].item() == pytest.approx(expected.item(), rel=1e-5)
    losses["confidence"].backward()
    assert head.weight.grad.abs().sum() > 0


class Broken(Term):
    """A plugin's term whose loss is what the test says."""

    def __init__(self, loss: object) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, passes: Passes) -> torch.Tensor:
        return self.loss  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("loss", "came"), [(torch.ones(4), r"a tensor of shape \(4,\)"), (1.0, "a float"), (None, "a NoneType")]
)
def test_a_term_that_gives_no_single_number_is_named(loss: object, came: str) -> None:
    stage = Stage("own", (WeightedTerm("mine", 1.0, lambda _: Broken(loss)),))
    target = create_backbone("iresnet18")
    module = Objective(target, LinearHead(512, 5), stage, {"mine": Broken(loss)}, (), target)
    images, labels = torch.randn(2, 3, 112, 112), torch.tensor([0, 1])
    with pytest.raises(InputError, match=f"term mine: expected one number as a tensor, got {came}; take its mean"):
        module(images, labels)


def test_two_terms_of_one_name_or_one_that_is_taken_are_refused() -> None:
    def stage(*names: str) -> Stage:
        return Stage("own", tuple(WeightedTerm(name, 1.0, lambda _: nn.Identity()) for name in names))  # type: ignore[arg-type,return-value]

    setting = StageSetting(SHAPES, 8, 5, backbone(), backbone())
    for names in (("pull", "pull"), ("classification",)):
        with pytest.raises(InputError, match=f"stage own: expected distinct names .* got {', '.join(names)}; rename"):
            make_terms(stage(*names), setting)
