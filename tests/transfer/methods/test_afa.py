"""AFA's stages: the published schedule and every variant."""

import pytest

from facexfer.errors import InputError
from facexfer.transfer.methods import METHODS, create
from facexfer.transfer.methods.afa import ChannelAlignment, SpatialAlignment
from facexfer.transfer.stages import Reference, StageSetting

SHAPES = ((256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7))


def summary(**options):
    return [
        (stage.name, [term.name for term in stage.terms], stage.reference, stage.share, stage.rate_factor)
        for stage in create("afa", **options)
    ]


def test_two_stages_as_in_algorithm_1():
    assert summary() == [
        ("ast", ["spatial"], Reference.SOURCE, 0.5, 1.0),
        ("act", ["channel"], Reference.PREVIOUS, 0.5, 0.1),
    ]


def test_variants():
    assert summary(variant="spatial") == [("ast", ["spatial"], Reference.SOURCE, 1.0, 1.0)]
    assert summary(variant="channel") == [("act", ["channel"], Reference.SOURCE, 1.0, 1.0)]
    assert summary(variant="one_stage") == [("ast_act", ["spatial", "channel"], Reference.SOURCE, 1.0, 1.0)]
    assert [row[0] for row in summary(variant="reversed")] == ["act", "ast"]
    assert [row[2] for row in summary(keep_source=True)] == [Reference.SOURCE, Reference.SOURCE]
    assert [stage.taps for stage in create("afa", taps=12)] == [12, 12]


def test_stage_lengths_and_the_second_stages_rate_are_options():
    assert [row[3:] for row in summary(first_share=0.75, second_rate=1.0)] == [(0.75, 1.0), (0.25, 1.0)]
    assert [row[3:] for row in summary(variant="spatial", first_share=0.75)] == [(1.0, 1.0)]
    with pytest.raises(InputError, match="expected first_share between 0 and 1; got 1"):
        create("afa", first_share=1.0)


def test_alphas_are_the_published_defaults_and_reach_their_terms():
    first, second = create("afa")
    assert (first.terms[0].alpha, second.terms[0].alpha) == (0.1, 0.15)
    (both,) = create("afa", variant="one_stage", spatial_alpha=2.0, channel_alpha=3.0)
    assert [term.alpha for term in both.terms] == [2.0, 3.0]


def test_terms_hold_one_module_a_layer_with_the_published_parameter_counts():
    setting = StageSetting(SHAPES, 2048, 10, None, None)
    first, second = create("afa")
    spatial, channel = first.terms[0].make(setting), second.terms[0].make(setting)
    assert isinstance(spatial, SpatialAlignment)
    assert isinstance(channel, ChannelAlignment)
    assert sum(p.numel() for p in spatial.parameters()) == 405_475
    assert sum(p.numel() for p in channel.parameters()) == 204_600


def test_bad_options_are_errors():
    with pytest.raises(InputError, match=r"unknown method 'afaa'; did you mean 'afa'\? methods: afa, "):
        create("afaa")
    with pytest.raises(InputError, match=r"unknown afa option 'tapps'; did you mean 'taps'\?"):
        create("afa", tapps=3)
    with pytest.raises(InputError, match="method afa, option variant: .* got 'spacial'"):
        create("afa", variant="spacial")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_shares_of_every_method_sum_to_one(name):
    assert sum(stage.share for stage in create(name)) == pytest.approx(1)
