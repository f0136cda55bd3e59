"""Attentive Feature Alignment (Xie et al., Neural Networks 138, 2021): the method and its published variants."""

from functools import partial
from typing import Literal

from facexfer.errors import InputError
from facexfer.transfer.alignment import AttentiveAlignment, FixedAttention
from facexfer.transfer.attention import ChannelAttention, SpatialAttention
from facexfer.transfer.stages import SAM_STAGE, Reference, Stage, StageSetting, Term, WeightedTerm
from facexfer.transfer.terms import channel_distance, spatial_distance

Attention = Literal["learned", "detached", "fixed"]
Variant = Literal["two_stage", "spatial", "channel", "one_stage", "reversed"]


class SpatialAlignment(AttentiveAlignment):
    """AST: the tapped layers' `spatial_distance`; its attention learned (Eqs. 5 and 6) or fixed (Table 9)."""

    distance = staticmethod(spatial_distance)


class ChannelAlignment(AttentiveAlignment):
    """ACT: the tapped layers' `channel_distance`; its attention learned (Eqs. 7 and 8) or fixed (Table 9)."""

    distance = staticmethod(channel_distance)


def afa(
    spatial_alpha: float = 0.1,
    channel_alpha: float = 0.15,
    variant: Variant = "two_stage",
    attention: Attention = "learned",
    keep_source: bool = False,
    head_decay: float = 0.01,
    taps: int = 4,
    first_share: float = 0.5,
    second_rate: float = 0.1,
    temperature: float = 1.0,
    entropy_floor: float = 0.0,
) -> tuple[Stage, ...]:
    """Align attended positions (stage I, AST), then attended channels (stage II, ACT); Algorithm 1.

    In stage II the stage-I result replaces the source, the head is carried over and the channel attention is new.
    The two alphas and ``second_rate`` stay in a recipe whatever its variant, which reads those of its own stages; any
    other option is refused where it would do nothing.

    Args:
        spatial_alpha: The weight of AST; 0.1 is published for ResNet-101 on Dogs (MobileNetV2: 0.09).
        channel_alpha: The weight of ACT; 0.15 is published for ResNet-101 on Dogs (MobileNetV2: 0.04).
        variant: ``two_stage``; ``spatial`` or ``channel`` alone (Table 4); ``one_stage``, the sum of both (Table 7);
            ``reversed``, ACT before AST (Table 8).
        attention: ``learned``; ``fixed`` for all samples (Table 9): over positions the mean output of a trained SAM
            over the training images, over channels DELTA's weights; or ``detached`` (ours), where the gradient of the
            distance does not reach the channel attention, which so stays as it was drawn.
        keep_source: Keep the first source network in stage II (Table 10).
        head_decay: The factor of ``1/2 ||W||^2`` of the head (published: 0.01; the backbone has none).
        taps: How many layers are aligned: 4, 8 or 12 in Table 11.
        first_share: Stage I's part of the iterations, between 0 and 1; published: a half.
        second_rate: Stage II's first learning rate as a factor of the run's; 0.1 (published) is stage I's last.
        temperature: Of the channel attention's softmax; 1 is published, above it the weights are flatter.
        entropy_floor: The least entropy of the channel attention (`raise_entropy`), a part of log C; published: none.

    Returns:
        One or two stages.

    Raises:
        InputError: ``first_share`` leaves one of two stages without iterations, ``temperature`` or ``entropy_floor``
            is out of range or set with fixed attention, or an option is set that the variant does not read.

    Example:
        >>> [(stage.name, str(stage.reference)) for stage in afa()]
        [('ast', 'source'), ('act', 'previous')]
    """
    _check_form(attention, temperature, entropy_floor)
    of_positions = _make_fixed_spatial if attention == "fixed" else _make_spatial
    spatial = WeightedTerm("spatial", spatial_alpha, of_positions, SpatialAlignment)
    learned = partial(_make_channel, temperature, entropy_floor, attention == "learned")
    of_channels = _make_fixed_channel if attention == "fixed" else learned
    channel = WeightedTerm("channel", channel_alpha, of_channels, ChannelAlignment)
    stages: dict[Variant, tuple[tuple[str, tuple[WeightedTerm, ...]], ...]] = {
        "two_stage": (("ast", (spatial,)), ("act", (channel,))),
        "reversed": (("act", (channel,)), ("ast", (spatial,))),
        "spatial": (("ast", (spatial,)),),
        "channel": (("act", (channel,)),),
        "one_stage": (("ast_act", (spatial, channel)),),
    }
    if not 0 < first_share < 1:
        raise InputError(f"afa: expected first_share between 0 and 1; got {first_share}; 0.5 is published")
    if variant == "spatial":
        idle = {"attention": attention == "detached", "temperature": temperature != 1}
        _check_read(idle | {"entropy_floor": entropy_floor != 0}, "channel attention", variant)
    if len(stages[variant]) == 1:
        _check_read({"keep_source": keep_source, "first_share": first_share != 0.5}, "two stages", variant)
    learns_first = attention == "fixed" and variant != "channel"
    learnt = WeightedTerm("spatial", spatial_alpha, _make_spatial, SpatialAlignment)
    sam = Stage(SAM_STAGE, (learnt,), head_decay=head_decay, taps=taps)
    later = Reference.SOURCE if keep_source else Reference.PREVIOUS
    shares = (1.0,) if len(stages[variant]) == 1 else (first_share, 1 - first_share)
    return tuple(
        Stage(
            name,
            terms,
            reference=later if index else Reference.SOURCE,
            share=shares[index],
            rate_factor=second_rate if index else 1.0,
            head_decay=head_decay,
            taps=taps,
            restarts_after=sam if learns_first and not index else None,
        )
        for index, (name, terms) in enumerate(stages[variant])
    )


def _check_form(attention: Attention, temperature: float, entropy_floor: float) -> None:
    if temperature <= 0:
        raise InputError(f"afa: expected a temperature above 0, got {temperature}; 1 is published")
    if not 0 <= entropy_floor < 1:
        raise InputError(f"afa: expected entropy_floor from 0 to below 1, got {entropy_floor}; 0 sets none")
    if attention == "fixed" and (temperature, entropy_floor) != (1, 0):
        raise InputError("afa: expected temperature and entropy_floor with learned attention, got fixed; leave them")


def _check_read(is_set: dict[str, bool], wanted: str, variant: Variant) -> None:
    idle = " and ".join(name for name, given in is_set.items() if given)
    if idle:
        raise InputError(f'afa: expected a variant with {wanted} for {idle}, got "{variant}"; leave {idle} out')


def _make_spatial(setting: StageSetting) -> Term:
    return SpatialAlignment(SpatialAttention(height, width) for _, height, width in setting.map_shapes)


def _make_channel(temperature: float, entropy_floor: float, is_trained: bool, setting: StageSetting) -> Term:
    term = ChannelAlignment(ChannelAttention(*shape, temperature, entropy_floor) for shape in setting.map_shapes)
    return term.requires_grad_(is_trained)


def _make_fixed_spatial(setting: StageSetting) -> Term:
    return SpatialAlignment(map(FixedAttention, setting.answers.mean_attention(setting.layers)))


def _make_fixed_channel(setting: StageSetting) -> Term:
    return ChannelAlignment(map(FixedAttention, setting.answers.channel_weights(setting.layers)))
