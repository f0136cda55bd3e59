"""What a method is made of: stages, and the weighted loss terms of a stage.

A method is a tuple of stages. A stage says which terms join the classification loss, against which reference network,
what is trained, and its share of the run. One loop runs them all, so a new method is one file that returns stages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from torch import Tensor, nn


class Reference(StrEnum):
    """The frozen network that a stage compares the target network with."""

    SOURCE = "source"
    """The network that the run started from."""
    PREVIOUS = "previous"
    """The trained result of the stage before."""


@dataclass(frozen=True)
class Passes:
    """What the two networks made of one batch; a term reads from it what it needs.

    Attributes:
        labels: (N,) int64.
        source_maps: The reference network's tapped maps (N, C, H, W), one a layer; empty if no term reads maps.
        target_maps: The target network's, likewise.
        source_embeddings: (N, D), or None if no term reads the reference network.
        target_embeddings: (N, D).
    """

    labels: Tensor
    source_maps: tuple[Tensor, ...]
    target_maps: tuple[Tensor, ...]
    source_embeddings: Tensor | None
    target_embeddings: Tensor


class Term(nn.Module):
    """One loss term beside the classification loss; its parameters, if any, are trained with the target network.

    Subclasses give a scalar, the mean over the batch, from `Passes`.
    """

    reads_maps: ClassVar[bool] = False
    """Whether the term needs the tapped maps of both networks."""
    reads_source: ClassVar[bool] = False
    """Whether the term needs the reference network's embeddings."""

    def forward(self, passes: Passes) -> Tensor:
        """Compute the term."""
        raise NotImplementedError


@dataclass(frozen=True)
class StageSetting:
    """What a term may know when it is made, at the start of its stage.

    Attributes:
        map_shapes: (C, H, W) of the tapped layers, shallow to deep.
        embedding_size: D.
        classes: K.
        source: The frozen reference network.
        target: The network in training.
    """

    map_shapes: tuple[tuple[int, int, int], ...]
    embedding_size: int
    classes: int
    source: nn.Module
    target: nn.Module


@dataclass(frozen=True)
class WeightedTerm:
    """A term of a stage.

    Attributes:
        name: How it is called in the metrics.
        alpha: Its weight in the objective (Xie et al. 2021, Eq. 4), on the batch mean.
        make: Makes the term at the start of the stage.
    """

    name: str
    alpha: float
    make: Callable[[StageSetting], Term]


@dataclass(frozen=True)
class Stage:
    """One stage of a method.

    Attributes:
        name: How it is called in the metrics and checkpoints.
        terms: The terms beside the classification loss.
        reference: Which frozen network the terms compare with.
        trains_backbone: False trains the head alone, the backbone staying in eval mode.
        share: Its part of the run's iterations; the shares of a method sum to 1.
        rate_factor: Its first learning rate as a factor of the run's.
        backbone_decay: Weight decay of the backbone, i.e. the factor of ``1/2 ||W||^2`` in the objective.
        head_decay: Weight decay of the head.
        taps: How many layers are tapped.
    """

    name: str
    terms: tuple[WeightedTerm, ...] = ()
    reference: Reference = Reference.SOURCE
    trains_backbone: bool = True
    share: float = 1.0
    rate_factor: float = 1.0
    backbone_decay: float = 0.0
    head_decay: float = 0.01
    taps: int = 4
