"""What is going wrong in a run or would, its likely cause, and the option to change; read off its own metrics."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.layers import has_batchnorm
from facexfer.errors import InputError
from facexfer.recipe import OptimizerSection, Recipe
from facexfer.transfer.objective import CLASSIFICATION
from facexfer.transfer.stages import Stage, classifies

# An alignment loss counts as exploding when it is this many times the smallest it has been in its stage.
_EXPLODED = 10.0
# The classification has come apart when its loss is this many times that of a guess, or of the run's start if larger.
_WORSE_THAN_GUESSES = 1.5
# On images that are not trained on, a network that is too sure of itself may reach a few times a guess's.
_FAR_WORSE_THAN_GUESSES = 10.0
# A part within this of its level of chance is there: a collapsed network's embeddings all point somewhere.
_NEAR_CHANCE = 0.95
# Classification losses below this are small whatever the head: the head has learnt what there is to learn.
_LEARNT = 0.5
# A head whose loss fell by less than this part over a whole stage has not learnt.
_UNMOVED = 0.05
# Metrics are compared with the untouched source's beyond what a few pairs decide.
_LOST = 0.005
_SMALLEST_BATCH = 16
_OF_BATCHNORM = ("final_batchnorm", "frozen_batchnorm", "sync_batchnorm")


class Diagnosis:
    """Watches a run's metrics and names what looks wrong, each once a stage.

    It is fed every record of the metrics in order, on a resumed run those of the file first, so that it says the same
    whether a run was stopped or not.

    Args:
        classes: How many the head tells apart.
        stages: The method; its terms say what they come to at chance.
    """

    def __init__(self, classes: int, stages: Sequence[Stage] = ()) -> None:
        self._guess = math.log(classes)
        self._chances = {
            (stage.name, term.name): term.alpha * term.chance
            for stage in stages
            for term in stage.terms
            if term.chance is not None
        }
        self._at_start: float | None = None
        self._explosions: dict[str, str] = {}
        self._stage = ""
        self._records = 0
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._smallest: dict[str, float] = {}
        self._said: set[str] = set()

    def see(self, record: Mapping[str, Any]) -> list[str]:
        """Take one record of the metrics.

        Args:
            record: With ``losses`` and ``stage``, or anything else, which is passed over.

        Returns:
            New warnings, a line each.
        """
        if "losses" not in record:
            return []
        warnings = self.end_stage() if record["stage"] != self._stage else []
        self._stage = record["stage"]
        self._records += 1
        self._last = dict(record["losses"])
        for part, loss in self._last.items():
            self._first.setdefault(part, loss)
            self._smallest[part] = min(loss, self._smallest.get(part, loss))
        if self._at_start is None:
            self._at_start = self._last.get(CLASSIFICATION, 0.0)
        return warnings + [warning for part in self._last if (warning := self._exploded(part))]

    @property
    def classification_is_lost(self) -> bool:
        """Whether the classification loss of the last record is far above a guess's and the run's start's."""
        return self._last.get(CLASSIFICATION, 0.0) > _WORSE_THAN_GUESSES * max(self._guess, self._at_start or 0.0)

    @property
    def classification_has_not_fallen(self) -> bool:
        """Whether the classification loss of the last record is no lower than the run's first."""
        return self._last.get(CLASSIFICATION, 0.0) >= (self._at_start or 0.0) > 0

    def is_lost_on_test_images(self, loss: float | None) -> bool:
        """Whether a classification loss on other images of the classes is beyond what learning by heart explains."""
        return loss is not None and not loss <= _FAR_WORSE_THAN_GUESSES * max(self._guess, self._at_start or 0.0)

    @property
    def is_wrong(self) -> bool:
        """Whether the last record looks like that of a run that fails."""
        return self.classification_is_lost or any(self._outweighs(part) or self._at_chance(part) for part in self._last)

    def symptoms(self) -> str:
        """Name what has exploded in the run, and what the classification loss came to."""
        said = list(self._explosions.values())
        said += [
            f"the loss part '{part}' is {self._last[part]:.3g}, no better than chance"
            for part in self._last
            if self._at_chance(part)
        ]
        if self.classification_is_lost:
            said.append(f"the classification loss is {self._last[CLASSIFICATION]:.3g}")
        return "; ".join(said)

    def end_stage(self) -> list[str]:
        """Whether the stage that ends has taught the head anything; the stage is forgotten.

        One record alone, as of a stage of a few steps, says nothing.
        """
        first, last = self._first.get(CLASSIFICATION, 0.0), self._last.get(CLASSIFICATION, 0.0)
        warnings = []
        if self._records > 1 and last > _LEARNT and last > (1 - _UNMOVED) * first:
            warnings.append(
                f"the head does not learn: the classification loss went from {first:.3g} to {last:.3g} in stage "
                f"'{self._stage}'; raise optimizer.learning_rate, lower head.margin or head.scale, start the head from "
                "class means, or check that the identities are labelled right"
            )
        self._stage, self._records, self._first, self._last, self._smallest = "", 0, {}, {}, {}
        self._said = set()
        return warnings

    def _exploded(self, part: str) -> str | None:
        now, least = self._last[part], self._smallest[part]
        if not self._outweighs(part):
            return None
        grown = f"the loss part '{part}' has grown from {least:.3g} to {now:.3g} in stage '{self._stage}'"
        self._explosions[part] = grown
        if part in self._said:
            return None
        self._said.add(part)
        return (
            f"{grown} and outweighs the classification: its alpha or the learning rate is too large; lower the "
            "method's alpha, optimizer.learning_rate or the stage's rate"
        )

    def _at_chance(self, part: str) -> bool:
        """Whether a part that has a level of chance is there; such a part is bounded and seldom grows tenfold."""
        chance = self._chances.get((self._stage, part))
        return chance is not None and self._last[part] >= _NEAR_CHANCE * chance > 0

    def _outweighs(self, part: str) -> bool:
        now, least = self._last[part], self._smallest[part]
        dominates = now > max(1.0, self._last.get(CLASSIFICATION, 0.0))
        return part != CLASSIFICATION and dominates and now >= _EXPLODED * least > 0


def compare_with_untouched(figures: Mapping[str, float | None], untouched: Mapping[str, float | None]) -> list[str]:
    """Name the metrics in which the trained network is behind the one that it started from.

    Args:
        figures: The trained network's, as fractions; larger is better.
        untouched: The source's, by the same names; empty if it was not measured.

    Returns:
        One warning, or none.

    Example:
        >>> compare_with_untouched({"nir/tar@0.01": 0.9}, {"nir/tar@0.01": 0.8})
        []
    """
    behind = [
        f"{name} {100 * now:.1f} % (untouched {100 * before:.1f} %)"
        for name, now in figures.items()
        if now is not None and (before := untouched.get(name)) is not None and now < before - _LOST
    ]
    if not behind:
        return []
    return [
        f"below the untouched source: {', '.join(behind)}; where that matters, lower optimizer.learning_rate, align "
        "more strongly (the method's alpha), set optimizer.frozen_batchnorm, or train on more images"
    ]


def warn_of_small_batches(
    backbone: nn.Module, settings: OptimizerSection, stages: Sequence[Stage], images: int, ranks: int = 1
) -> list[str]:
    """Warn of BatchNorm that learns its statistics from too few images.

    Args:
        backbone: What is trained.
        settings: Whether its statistics are frozen or synchronised.
        stages: The method.
        images: How many a rank sees a pass.
        ranks: How many ranks there are.

    Returns:
        One warning, or none.
    """
    seen = images * ranks if settings.sync_batchnorm else images
    if seen >= _SMALLEST_BATCH or not _learns_batchnorm(backbone, settings, stages):
        return []
    return [
        f"BatchNorm sees {seen} images per pass, fewer than {_SMALLEST_BATCH}: its statistics are noise; raise "
        "optimizer.batch_size, lower optimizer.accumulate, set optimizer.frozen_batchnorm = true (or "
        "optimizer.sync_batchnorm = true with several ranks)"
    ]


def check_batchnorm(
    backbone: nn.Module, settings: OptimizerSection, stages: Sequence[Stage], images: int, ranks: int
) -> None:
    """Refuse to train BatchNorm on single images, which have no variance.

    Args:
        backbone: What is trained.
        settings: Whether its statistics are frozen or synchronised.
        stages: The method.
        images: How many a rank sees a pass.
        ranks: How many ranks there are.

    Raises:
        InputError: If BatchNorm would see one image at a time.
    """
    seen = images * ranks if settings.sync_batchnorm else images
    if seen == 1 and _learns_batchnorm(backbone, settings, stages):
        raise InputError(
            "expected at least two images at a time for a network with BatchNorm, got one; raise "
            "optimizer.batch_size, lower optimizer.accumulate, or set optimizer.frozen_batchnorm = true"
        )


def warn_of_sgd(backbone: BackboneModule, settings: OptimizerSection) -> list[str]:
    """Warn of SGD on a network whose layers have no size of their own to be kept at.

    Args:
        backbone: What is trained.
        settings: Which optimizer trains it.

    Returns:
        One warning, or none.
    """
    if has_batchnorm(backbone) or settings.name != "sgd":
        return []
    return [
        f"{backbone.info.name} has no BatchNorm, and SGD at a usual rate can destroy such a network; take "
        "optimizer.name = adamw with optimizer.learning_rate = 1e-4"
    ]


def warn_of_idle_batchnorm(backbone: BackboneModule, settings: OptimizerSection) -> list[str]:
    """Warn of settings for BatchNorm where there is none.

    Args:
        backbone: What is trained.
        settings: Which a recipe for another network may well have.

    Returns:
        One warning, or none.
    """
    idle = [f"optimizer.{name}" for name in _OF_BATCHNORM if getattr(settings, name)]
    if not idle or has_batchnorm(backbone):
        return []
    return [f"{backbone.info.name} has no BatchNorm, so that {' and '.join(idle)} can change nothing"]


def warn_of_idle_head(recipe: Recipe, stages: Sequence[Stage], is_closed: bool = False) -> list[str]:
    """Warn of settings of the head where nothing is classified.

    Args:
        recipe: The run.
        stages: Its method.
        is_closed: Whether the head is measured all the same; a margin is for training alone even there.

    Returns:
        One warning, or none.
    """
    defaults = type(recipe.head).model_fields
    named = [name for name in ("name", "start") if getattr(recipe.head, name) != defaults[name].default]
    read = ("name", "start", "scale") if is_closed else ()
    idle = [f"head.{name}" for name in [*named, *recipe.head.options] if name not in read]
    if not idle or classifies(stages):
        return []
    return [f"{recipe.method.name} has no classification loss here, so that {' and '.join(idle)} can change nothing"]


def _learns_batchnorm(backbone: nn.Module, settings: OptimizerSection, stages: Sequence[Stage]) -> bool:
    """Whether BatchNorm takes its statistics from batches: not where a network keeps its own in eval mode, as PDT's."""
    if settings.frozen_batchnorm or not any(stage.trains_backbone for stage in stages):
        return False
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.train()
    learns = any(module.training and isinstance(module, nn.modules.batchnorm._BatchNorm) for module, _ in modes)
    for module, mode in modes:
        module.training = mode
    return learns
