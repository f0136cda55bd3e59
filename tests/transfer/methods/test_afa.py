"""AFA's stages: the published schedule and every variant."""

import math
from typing import Any

import pytest
import torch

from facexfer.errors import InputError
from facexfer.transfer.methods import METHODS, create
from facexfer.transfer.methods.afa import ChannelAlignment, SpatialAlignment
from facexfer.transfer.stages import Passes, Reference, StageSetting
from facexfer.transfer.terms import feature_distance

SHAPES = ((256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7))


def summary(**options: Any):
    return [
        (stage.name, [term.name for term in stage.terms], stage.reference, stage.share, stage.rate_factor)
        for stage in create("afa", **options)
    ]


def test_two_stages_as_in_algorithm_1() -> None:
    assert summary() == [
        ("ast", ["spatial"], Reference.SOURCE, 0.5, 1.0),
        ("act", ["channel"], Reference.PREVIOUS, 0.5, 0.1),
    ]


def test_variants() -> None:
    assert summary(variant="spatial") == [("ast", ["spatial"], Reference.SOURCE, 1.0, 1.0)]
    assert summary(variant="channel") == [("act", ["channel"], Reference.SOURCE, 1.0, 1.0)]
    assert summary(variant="one_stage") == [("ast_act", ["spatial", "channel"], Reference.SOURCE, 1.0, 1.0)]
    assert [row[0] for row in summary(variant="reversed")] == ["act", "ast"]
    assert [row[2] for row in summary(keep_source=True)] == [Reference.SOURCE, Reference.SOURCE]
    assert [stage.taps for stage in create("afa", taps=12)] == [12, 12]


def test_stage_lengths_and_the_second_stages_rate_are_options() -> None:
    assert [row[3:] for row in summary(first_share=0.75, second_rate=1.0)] == [(0.75, 1.0), (0.25, 1.0)]
    with pytest.raises(InputError, match="expected first_share between 0 and 1; got 1"):
        create("afa", first_share=1.0)


def test_alphas_are_the_published_defaults_and_reach_their_terms() -> None:
    first, second = create("afa")
    assert (first.terms[0].alpha, second.terms[0].alpha) == (0.1, 0.15)
    (both,) = create("afa", variant="one_stage", spatial_alpha=2.0, channel_alpha=3.0)
    assert [term.alpha for term in both.terms] == [2.0, 3.0]


def test_terms_hold_one_module_a_layer_with_the_published_parameter_counts() -> None:
    setting = StageSetting(SHAPES, 2048, 10, None, None)
    first, second = create("afa")
    spatial, channel = first.terms[0].make(setting), second.terms[0].make(setting)
    assert isinstance(spatial, SpatialAlignment)
    assert isinstance(channel, ChannelAlignment)
    assert sum(p.numel() for p in spatial.parameters()) == 405_475
    assert sum(p.numel() for p in channel.parameters()) == 204_600


def test_bad_options_are_errors() -> None:
    with pytest.raises(InputError, match=r"unknown method 'afaa'; did you mean 'afa'\? methods: .*afa, "):
        create("afaa")
    with pytest.raises(InputError, match="expected method.spatial_alpha of at least 0, got -1; 0 leaves the term out"):
        create("afa", spatial_alpha=-1)
    # TOML knows no such numbers, so that a recipe's setting leaves them as text.
    with pytest.raises(InputError, match="expected method.spatial_alpha of at least 0, got -0.5; 0 leaves"):
        create("afa", spatial_alpha="-.5")
    for value in ("NaN", float("nan"), "Infinity"):
        with pytest.raises(InputError, match="expected a finite number for method.spatial_alpha, got (nan|inf); give"):
            create("afa", spatial_alpha=value)
    with pytest.raises(InputError, match="expected a number for method.spatial_alpha, got true; give one"):
        create("afa", spatial_alpha=True)
    with pytest.raises(InputError, match=r"unknown afa option 'tapps'; did you mean 'taps'\?"):
        create("afa", tapps=3)
    with pytest.raises(InputError, match="method afa, option variant: .* got 'spacial'"):
        create("afa", variant="spacial")


@pytest.mark.parametrize("value", [-1, 0, 0.0])
def test_a_rate_or_scale_that_would_leave_a_stage_untrained_is_refused_before_the_one_before_it(value: float) -> None:
    options = [("afa", "second_rate"), ("lwf", "rate_factor"), ("lwf", "prototype_scale"), ("soft_ft", "rate_factor")]
    for method, option in options:
        with pytest.raises(InputError, match=rf"expected method.{option} above 0, got {value:g}; the default is \d"):
            create(method, **{option: value})


def channel_term(**options: Any):
    torch.manual_seed(0)
    (stage,) = create("afa", variant="channel", **options)
    return stage.terms[0].make(StageSetting(((16, 4, 4),), 8, 2, None, None))


def passes():
    generator = torch.Generator().manual_seed(1)
    source, target = torch.randn(2, 3, 16, 4, 4, generator=generator)
    return Passes(torch.zeros(3), (source,), (target.requires_grad_(),), None, torch.zeros(3, 8))


def test_learned_channel_attention_is_reached_by_the_gradient_and_detached_is_not() -> None:
    learned, detached, batch = channel_term(), channel_term(attention="detached"), passes()
    values = [term(batch) for term in (learned, detached)]
    assert values[0].item() == values[1].item()
    for value in values:
        value.backward()
        assert batch.target_maps[0].grad.abs().sum() > 0
        batch.target_maps[0].grad = None
    assert all(each.grad.abs().sum() > 0 for each in learned.parameters())
    assert all(each.grad is None and not each.requires_grad for each in detached.parameters())


@pytest.mark.parametrize("options", [{"temperature": 1e6}, {"entropy_floor": 1 - 1e-6}])
def test_a_high_temperature_and_a_high_floor_make_the_channel_term_dfa(options: dict[str, float]) -> None:
    batch = passes()
    expected = feature_distance(batch.source_maps[0], batch.target_maps[0]).item()
    assert channel_term(**options)(batch).item() == pytest.approx(expected, rel=1e-2)


def test_the_entropy_floor_holds_for_attention_that_has_collapsed() -> None:
    term, batch = channel_term(entropy_floor=0.9), passes()
    with torch.no_grad():
        term.attentions[0].bias[5] = 1e3
    distances = (batch.target_maps[0] - batch.source_maps[0]).square().sum(dim=(2, 3)) / 2
    collapsed = 16 * distances[:, 5].mean().item()
    uniform = distances.sum(dim=1).mean().item()
    share = (term(batch).item() - uniform) / (collapsed - uniform)
    weight = share + (1 - share) / 16
    others = (1 - weight) / 15
    entropy = -weight * math.log(weight) - 15 * others * math.log(others)
    assert entropy == pytest.approx(0.9 * math.log(16), abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"entropy_floor": 1.0}, "expected entropy_floor from 0 to below 1, got 1"),
        ({"temperature": 0.0}, "expected a temperature above 0, got 0"),
        ({"attention": "fixed", "entropy_floor": 0.5}, "with learned attention, got fixed"),
        ({"variant": "spatial", "temperature": 2.0}, 'a variant with channel attention for temperature, got "spatial"'),
        ({"variant": "spatial", "entropy_floor": 0.5}, "for entropy_floor, got .*; leave entropy_floor out"),
        ({"variant": "spatial", "attention": "detached"}, "a variant with channel attention for attention, got"),
        ({"variant": "spatial", "keep_source": True}, 'a variant with two stages for keep_source, got "spatial"'),
        ({"variant": "channel", "first_share": 0.75}, 'a variant with two stages for first_share, got "channel"'),
        (
            {"variant": "one_stage", "first_share": 0.75, "keep_source": True},
            "for keep_source and first_share, got .*; leave keep_source and first_share out",
        ),
    ],
)
def test_limits_that_do_not_fit_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create("afa", **options)


@pytest.mark.parametrize("variant", ["two_stage", "spatial", "channel", "one_stage", "reversed"])
@pytest.mark.parametrize("attention", ["learned", "fixed"])
def test_what_recipes_set_stays_whatever_the_variant(variant: str, attention: str) -> None:
    alphas = {"spatial_alpha": 1e-4, "channel_alpha": 1e-3}
    assert create("afa", variant=variant, attention=attention, second_rate=1.0, **alphas)
    # Written out, as in a run's own recipe, a default is no choice.
    defaults = {"first_share": 0.5, "keep_source": False, "temperature": 1.0, "entropy_floor": 0.0}
    assert create("afa", variant=variant, attention=attention, **defaults)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_shares_of_every_method_that_trains_sum_to_one(name: str) -> None:
    stages = create(name)
    assert sum(stage.share for stage in stages) == pytest.approx(1 if stages else 0)
