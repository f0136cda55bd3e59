"""Whether a run succeeded: its figure compared with those of the networks that it started from."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from facexfer.recipe import EvaluationSection

KEPT = 0.75
"""A run that keeps less than this part of its source's TAR has failed.

Every run in RESULTS.md keeps more than 0.99 of it; the run that diverged kept 0.008.
"""


CHANCE = 2.0
"""A source whose TAR is less than this many times the FAR tells people apart by chance: it has nothing to lose."""


MARGIN = 0.05
"""A smaller fall of the TAR, as a fraction, is ignored: with few accepted genuine pairs a single one decides it."""


ACCURACY = "mean_class"
TEST_LOSS = "test/classification"
# Of an accuracy by chance, in standard deviations: within the one it is chance, beyond the other it is not.
_CHANCE, _BEYOND = 2.0, 4.0
# A test loss this many times that of a guess, and of the start, is that of a network too sure of what is wrong.
_FAR_WORSE = 3.0


class Start:
    """A network that a run started from; it is measured once, and only where that may decide.

    Args:
        name: What it is called in a failure.
        measure: Measures it by the first pairs.
    """

    def __init__(self, name: str, measure: Callable[[], Mapping[str, float | None]]) -> None:
        self.name = name
        self._measure = measure

    @cached_property
    def figures(self) -> Mapping[str, float | None]:
        """Its figures, as fractions."""
        return self._measure()


class SourceFigure:
    """What the networks that a run started from measure, and whether a figure is far below one of them.

    It is the first pairs' TAR at the largest FAR that they support: what the run is for, where most pairs decide.
    Other pairs may fall (LwF gives up VIS for NIR). The networks are the source as training found it and, where its
    BatchNorm statistics were measured again before that, the untouched one too: else a measurement that ruins the
    source would lower the bar with it. No TAR is above 1, so they are measured only once a figure falls below `KEPT`.

    Args:
        settings: The recipe's pairs and FARs.
        starts: The networks.
    """

    def __init__(self, settings: EvaluationSection, starts: Sequence[Start]) -> None:
        fars = sorted(settings.fars, reverse=True)
        self._fars = {f"{settings.pairs[0].name}/tar@{far:g}": far for far in fars}
        self._starts = starts

    def shortfall(self, figures: Mapping[str, float | None]) -> str:
        """How a network is far below one that the run started from.

        Args:
            figures: The network's, as fractions.

        Returns:
            The two figures in words; empty if it is not, if there is no TAR to compare, or if the source's is chance.
        """
        name = next((each for each in self._fars if figures.get(each) is not None), None)
        now = None if name is None else figures[name]
        if name is None or now is None or now >= KEPT:
            return ""
        for start in self._starts:
            before = start.figures.get(name)
            if before is not None and before >= CHANCE * self._fars[name] and now < min(KEPT * before, before - MARGIN):
                return f"{name} is {100 * now:.2f} %, far below the {100 * before:.2f} % of {start.name}"
        return ""


class AccuracyFigure:
    """Whether a classifier has fallen to chance.

    It is the accuracy averaged over the classes, which is one over their number for every network that has collapsed.
    A loss tells less: with a margin its start is far above a guess's, and one that has learnt its images by heart may
    have a large one on others.

    Args:
        classes: How many there are.
        images: Of the test.
        starts: The networks that the run started from, with the heads that they started with.
    """

    def __init__(self, classes: int, images: int, starts: Sequence[Start]) -> None:
        self._guess = math.log(classes)
        self._chance = 1 / classes
        self._deviation = math.sqrt(self._chance * (1 - self._chance) / max(1, images))
        self._starts = starts

    def shortfall(self, figures: Mapping[str, float | None]) -> str:
        """How a classifier has fallen to chance from a start that told the classes apart.

        Args:
            figures: Its, as fractions.

        Returns:
            The two accuracies in words; empty if it has not, or if there is none to compare.
        """
        now = figures.get(ACCURACY)
        if now is None or not self._is_chance(now):
            return ""
        for start in self._starts:
            before = start.figures.get(ACCURACY)
            if before is not None and before - now >= MARGIN and before >= self._chance + _BEYOND * self._deviation:
                fall = f"far below the {100 * before:.2f} % of {start.name}"
                return f"{ACCURACY} is {100 * now:.2f} %, no better than chance, {fall}"
        return ""

    def is_lost(self, figures: Mapping[str, float | None]) -> bool:
        """Whether a classifier is at chance and far surer of it than the start, which may have been at chance as well.

        Args:
            figures: Its, with the loss on test images.
        """
        now, loss = figures.get(ACCURACY), figures.get(TEST_LOSS)
        if now is None or loss is None or not self._is_chance(now) or loss <= _FAR_WORSE * self._guess:
            return False
        return not any(loss <= _FAR_WORSE * (start.figures.get(TEST_LOSS) or 0.0) for start in self._starts)

    def _is_chance(self, accuracy: float) -> bool:
        """Whether an accuracy is what chance gives; never where the test is too small for any to be more."""
        if self._chance + _BEYOND * self._deviation >= 1:
            return False
        return accuracy <= self._chance + _CHANCE * self._deviation
