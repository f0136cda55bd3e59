"""What a method's terms read is known before they are made."""

from typing import Any

import pytest
from torch import nn

from facexfer.transfer.methods import METHODS, create
from facexfer.transfer.stages import Passes, Stage, StageSetting, Term, WeightedTerm

# Other tests and plugins add methods of their own.
OURS = sorted(name for name in METHODS if METHODS[name].__module__.startswith("facexfer."))
ALL: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in OURS),
    ("dsbn", {"weight": 1.0}),
    *(("afa", {"variant": variant}) for variant in ("spatial", "channel", "one_stage", "reversed")),
    ("afa", {"attention": "fixed"}),
]  # fmt: skip


class Knows:
    """Answers what methods ask, for maps of two channels and two positions."""

    def classifier(self, old_task: str, scale: float) -> nn.Module:
        return nn.Linear(3, 2)

    def channel_weights(self, layers: tuple[str, ...]) -> tuple[Any, ...]:
        return (nn.Parameter(),) * len(layers)

    mean_attention = channel_weights


class Sum(Term):
    reads_companions = True

    def forward(self, passes: Passes) -> Any:
        return passes.target_embeddings.sum()


@pytest.mark.parametrize(("name", "options"), ALL)
def test_the_named_class_is_that_of_the_term(name: str, options: dict[str, Any]) -> None:
    network = nn.Linear(3, 3)
    setting = StageSetting(((2, 1, 2),), 3, 2, network, network, ("layer",), Knows())
    stages = create(name, **options)
    for stage in [*stages, *(each for stage in stages if (each := stage.restarts_after))]:
        for term in stage.terms:
            assert type(term.make(setting)) is term.known_kind


def test_what_is_not_known_may_read_anything() -> None:
    def stage(*terms: WeightedTerm) -> Stage:
        return Stage("mine", terms)

    made = WeightedTerm("made", 1.0, lambda _: Sum())
    assert stage().reads("reads_companions") is False
    assert stage(made).reads("reads_companions") is None
    assert stage(WeightedTerm("itself", 1.0, lambda _: Sum(), Sum)).reads("reads_companions") is True
    known = WeightedTerm("class", 1.0, Sum)
    assert stage(known).reads("reads_maps") is False
    assert stage(known, made).reads("reads_maps", "reads_companions") is True
