"""Whether a run succeeded: its figure compared with that of the network that it started from."""

from collections.abc import Callable, Mapping

from facexfer.recipe import EvaluationSection

KEPT = 0.75
"""A run that keeps less than this part of its source's TAR has failed.

Every run in RESULTS.md keeps more than 0.99 of it; the run that diverged kept 0.008.
"""


CHANCE = 2.0
"""A source whose TAR is less than this many times the FAR tells people apart by chance: it has nothing to lose."""


MARGIN = 0.05
"""A smaller fall of the TAR, as a fraction, is ignored: with few accepted genuine pairs a single one decides it."""


class SourceFigure:
    """What the network that a run started from measures, and whether a figure is far below that.

    It is the first pairs' TAR at the largest FAR that they support: what the run is for, where most pairs decide.
    Other pairs may fall (LwF gives up VIS for NIR). The source is the network as training found it, with its BatchNorm
    statistics measured again where the recipe asks for that, which are not the figures of the untouched one. No TAR is
    above 1, so it is measured only once a figure falls below `KEPT`.

    Args:
        settings: The recipe's pairs and FARs.
        measure: Measures the source by the first pairs.
    """

    def __init__(self, settings: EvaluationSection, measure: Callable[[], Mapping[str, float | None]]) -> None:
        fars = sorted(settings.fars, reverse=True)
        self._fars = {f"{settings.pairs[0].name}/tar@{far:g}": far for far in fars}
        self._measure = measure
        self._figures: Mapping[str, float | None] | None = None

    def shortfall(self, figures: Mapping[str, float | None]) -> str:
        """How a network is far below the source.

        Args:
            figures: The network's, as fractions.

        Returns:
            The two figures in words; empty if it is not, if there is no TAR to compare, or if the source's is chance.
        """
        name = next((each for each in self._fars if figures.get(each) is not None), None)
        now = None if name is None else figures[name]
        if name is None or now is None or now >= KEPT:
            return ""
        if self._figures is None:
            self._figures = self._measure()
        before = self._figures.get(name)
        if before is None or before < CHANCE * self._fars[name] or now >= min(KEPT * before, before - MARGIN):
            return ""
        return f"{name} is {100 * now:.2f} %, far below the {100 * before:.2f} % of the network that it started from"
