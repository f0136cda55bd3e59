"""What a method is made of: stages, and the weighted loss terms of a stage.

A method is a tuple of stages. A stage says which terms join the classification loss, against which reference network,
what is trained, and its share of the run. One loop runs them all, so a new method is one file that returns stages.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

SAM_STAGE = "attention"
"""The stage that learns the attention which a later one holds fixed."""


class Reference(StrEnum):
    """The frozen network that a stage compares the target network with."""

    SOURCE = "source"
    """The network that the run started from."""
    PREVIOUS = "previous"
    """The trained result of the stage before."""


class Need(StrEnum):
    """What a stage needs beyond the source's weights and the target's images; checked before a run starts."""

    SOURCE_IMAGES = "source images"
    CLASSIFIER = "the source's own classifier"
    COMPANIONS = "companions"
    COMPANION_MAPS = "companions' maps"
    SPECTRA = "training images of exactly two modalities"


@dataclass(frozen=True)
class SourceBatch:
    """What the target network made of a batch of the source's own images.

    Attributes:
        embeddings: (N, D), with gradient.
        labels: (N,) int64, of the source's classes.
        weight: A scalar that falls from 1 to 0 over the stage.
    """

    embeddings: Tensor
    labels: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Passes:
    """What the two networks made of one batch; a term reads from it what it needs.

    Attributes:
        labels: (N,) int64; -1 for an image whose class is not known.
        source_maps: The reference network's tapped maps (N, C, H, W), one per layer; empty if no term reads maps.
        target_maps: The target network's, likewise.
        source_embeddings: (N, D), or None if no term reads the reference network.
        target_embeddings: (N, D).
        source_batch: A batch of the source's own images, or None if no term reads them.
        logits: (N, K) of the head on the target's embeddings, float32 or wider, with whatever margin the head has in
            training; None where nothing classifies.
        companions: (N, D) the unit embeddings of each image's companion by the untouched source, zero where an image
            has none; None if no term reads them.
        companion_maps: (N, C, H, W) float16, the deepest tapped layer's maps of each image's companion by the untouched
            source, a unit vector at each position; zero where an image has none; None if no term reads them.
        spectra: (N,) int64, each image's place in the recipe's ``data.modality``: 0 for the new spectrum, 1 for the
            source's own; -1 for an image of another set. None if no term reads them.
    """

    labels: Tensor
    source_maps: tuple[Tensor, ...]
    target_maps: tuple[Tensor, ...]
    source_embeddings: Tensor | None
    target_embeddings: Tensor
    source_batch: SourceBatch | None = None
    logits: Tensor | None = None
    companions: Tensor | None = None
    companion_maps: Tensor | None = None
    spectra: Tensor | None = None


class Term(nn.Module):
    """One loss term besides the classification loss; its parameters, if any, are trained with the target network.

    Subclasses give a scalar, the mean over the batch, from `Passes`.
    """

    reads_maps: ClassVar[bool] = False
    """Whether the term needs the tapped maps of both networks."""
    reads_source: ClassVar[bool] = False
    """Whether the term needs the reference network's embeddings."""
    reads_source_images: ClassVar[bool] = False
    """Whether the term needs a batch of the source's own images with every batch of the target's."""
    reads_companions: ClassVar[bool] = False
    """Whether the term needs the embeddings of the images' companions."""
    reads_companion_maps: ClassVar[bool] = False
    """Whether the term needs the maps of the images' companions, and the target's tapped maps."""
    reads_spectra: ClassVar[bool] = False
    """Whether the term needs to know each image's spectrum."""

    def forward(self, passes: Passes) -> Tensor:
        """Compute the term."""
        raise NotImplementedError


class Knowledge(Protocol):
    """What a method may ask about the source beyond its weights; it is worked out when it is asked for."""

    def classifier(self, old_task: str, scale: float) -> nn.Module:
        """The source's classifier, embeddings (N, D) -> logits (N, K_s): its own or prototypes.

        Args:
            old_task: ``classifier``, the network's own; ``source_set`` or ``training_set``, the unit class means of
                the source's embeddings of those images, of the latter as it sees them in training.
            scale: Of the prototypes' cosines.
        """
        ...

    def channel_weights(self, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """DELTA's weights (C,) for the layers' channels."""
        ...

    def mean_attention(self, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """The output (H, W) of the SAM of `SAM_STAGE`, a mean over the training images as the source sees them."""
        ...


@dataclass(frozen=True)
class StageSetting:
    """What a term may know when it is made, at the start of its stage.

    Attributes:
        map_shapes: (C, H, W) of the tapped layers, shallow to deep.
        embedding_size: D.
        classes: K.
        source: The frozen reference network.
        target: The network in training.
        layers: The tapped layers' names.
        knowledge: Answers what a method asks about the source; None where only terms without questions are made.
    """

    map_shapes: tuple[tuple[int, int, int], ...]
    embedding_size: int
    classes: int
    source: nn.Module
    target: nn.Module
    layers: tuple[str, ...] = ()
    knowledge: Knowledge | None = None

    @property
    def answers(self) -> Knowledge:
        """The knowledge, where a term cannot be made without.

        Raises:
            ValueError: If it was not passed.
        """
        if self.knowledge is None:
            raise ValueError("expected a setting with knowledge of the source, got none; make the terms in a run")
        return self.knowledge


@dataclass(frozen=True)
class WeightedTerm:
    """A term of a stage.

    Attributes:
        name: How it is called in the metrics.
        alpha: Its weight in the objective (Xie et al. 2021, Eq. 4), on the batch mean.
        make: Makes the term at the start of the stage.
        kind: The class of what `make` makes, whose flags tell before the run what the term reads; None where `make` is
            that class itself, or it is not known.
        chance: The term, without its weight, of a network that tells nothing of what it compares: 1 of one minus a
            cosine. A run whose term is as large looks wrong. None for a term without such a level.
    """

    name: str
    alpha: float
    make: Callable[[StageSetting], Term]
    kind: type[Term] | None = None
    chance: float | None = None

    @property
    def known_kind(self) -> type[Term] | None:
        """The term's class, as far as it is known before the term is made."""
        if self.kind is not None or not isinstance(self.make, type):
            return self.kind
        return self.make if issubclass(self.make, Term) else None


class OptimizerMaker(Protocol):
    """Makes a method's own optimizer."""

    def __call__(
        self, groups: list[dict[str, Any]], sources: Mapping[Tensor, Tensor], rate: float, momentum: float
    ) -> torch.optim.Optimizer:
        """Make it.

        Args:
            groups: Parameters with their ``weight_decay``, as torch's optimizers take them.
            sources: The backbone's parameters -> the same ones of the source network.
            rate: The first learning rate.
            momentum: As of SGD.
        """
        ...


@dataclass(frozen=True)
class Stage:
    """One stage of a method.

    Attributes:
        name: How it is called in the metrics and checkpoints.
        terms: The terms in addition to the classification loss.
        reference: Which frozen network the terms compare with.
        trains_backbone: False trains the head alone, the backbone staying in eval mode.
        trained_part: Picks the backbone's parameters that are trained, the others staying as they are; None trains all.
        trains_head: False leaves the head as it started; it classifies all the same.
        share: Its part of the run's iterations; the shares of a method sum to 1.
        rate_factor: Its first learning rate as a factor of the run's.
        backbone_decay: Weight decay of the backbone, i.e. the factor of ``1/2 ||W||^2`` in the objective.
        head_decay: Weight decay of the head.
        taps: How many layers are tapped.
        needs: What must be there before the run starts.
        restarts_after: Is run first, as its own run in the folder of its name; then the method starts from the
            source again.
        classification: The weight of the classification loss; with 0 the head is not trained and no label is read.
        make_optimizer: Makes its own optimizer instead of SGD.
    """

    name: str
    terms: tuple[WeightedTerm, ...] = ()
    reference: Reference = Reference.SOURCE
    trains_backbone: bool = True
    trained_part: Callable[[nn.Module], Iterable[nn.Parameter]] | None = None
    trains_head: bool = True
    share: float = 1.0
    rate_factor: float = 1.0
    backbone_decay: float = 0.0
    head_decay: float = 0.01
    taps: int = 4
    needs: frozenset[Need] = frozenset()
    restarts_after: "Stage | None" = None
    classification: float = 1.0
    make_optimizer: OptimizerMaker | None = None

    def reads(self, *flags: str) -> bool | None:
        """Whether any of its terms has one of these flags of `Term`, as far as it is known before they are made.

        Args:
            *flags: Such as ``"reads_maps"``.

        Returns:
            None where no term is known to, and a term's class is not known.

        Example:
            >>> Stage("mine", (WeightedTerm("mine", 1.0, Term),)).reads("reads_maps", "reads_source")
            False
        """
        kinds = [term.known_kind for term in self.terms]
        if any(getattr(kind, flag) for kind in kinds if kind is not None for flag in flags):
            return True
        return None if None in kinds else False


def classifies(stages: Iterable[Stage]) -> bool:
    """Whether any stage of a method has a classification loss."""
    return any(stage.classification > 0 for stage in stages)
