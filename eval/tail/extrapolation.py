"""Thresholds for false accept rates that the pairs do not support, with an interval or a refusal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from facexfer.errors import InputError
from facexfer.eval.tail.clusters import cluster_variance
from facexfer.eval.tail.excesses import Excesses, from_scale, to_scale
from facexfer.eval.tail.pareto import Pareto, fit_pareto, fit_scale, nearly

REACH = 30.0
"""How far below the smallest supported FAR the intervals have been validated (docs/experiments/extrapolation.md)."""
_SHAPE_SPREAD = 0.1
_LEAST_FREEDOM = 5.0
_MOST_MISFIT = 3.0
_CHECKED = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05)


@dataclass(frozen=True)
class Extrapolated:
    """A false accept rate that was not measured.

    Attributes:
        far: The target.
        factor: How many times it lies below the smallest FAR that the pairs support.
        threshold: The cosine at which the target is expected; None where it is refused.
        far_ci95: The 95 % interval of the false accept rate at that threshold.
        refusal: Why there is no threshold; empty where there is one.
    """

    far: float
    factor: float
    threshold: float | None = None
    far_ci95: tuple[float, float] | None = None
    refusal: str = ""


class Tail:
    """The impostor tail of a pair set, fitted.

    Peaks over a threshold (Pickands, Annals of Statistics 1975; for biometric scores Shi et al. 2008): the excesses
    follow a generalised Pareto distribution. Its shape, which decides how far one can see, is weighed against 0, which
    is that of random directions on this scale (`to_scale`): the likelihood's shape, with its variance over identities,
    and 0 with a standard deviation of 0.1 are averaged by their precision.

    Args:
        excesses: The tail.
    """

    def __init__(self, excesses: Excesses) -> None:
        self.excesses = excesses
        values = excesses.values
        free = fit_pareto(values)
        pull = (free.scores(values) @ np.linalg.inv(free.information()))[:, 0] / len(values)
        variance = cluster_variance(excesses, pull).variance
        self._weight = _SHAPE_SPREAD**2 / (_SHAPE_SPREAD**2 + variance)
        self._pull, self._shape_variance = pull, variance
        shape = nearly(self._weight * free.shape)
        self.fit = Pareto(shape, fit_scale(values, shape))
        self.misfit = self._misfit()

    def far(self, threshold: float) -> float:
        """The false accept rate at a cosine above the base of the tail."""
        beyond = float(to_scale(threshold) - to_scale(self.excesses.base))
        return len(self.excesses.values) / self.excesses.pairs * math.exp(float(self.fit.log_survival(beyond)))

    def threshold(self, far: float) -> float:
        """The cosine at which the fitted tail has this false accept rate, the inverse of `far`."""
        excess = self.fit.quantile(far * self.excesses.pairs / len(self.excesses.values))
        return from_scale(float(to_scale(self.excesses.base)) + excess)

    def narrowed(self, count: int) -> "Tail":
        """The same fit to a tail that begins higher; see `Excesses.narrowed`."""
        return Tail(self.excesses.narrowed(count))

    def extrapolate(self, fars: Sequence[float]) -> tuple[Extrapolated, ...]:
        """Find thresholds for targets.

        Args:
            fars: The targets, as fractions.

        Returns:
            One entry per target: a threshold, or why there is none.

        Raises:
            InputError: If the pairs support a target: it is to be measured.
        """
        supported = [far for far in fars if far * self.excesses.pairs >= 1]
        if supported:
            listed = ", ".join(f"{far:g}" for far in supported)
            raise InputError(
                f"expected FARs to extrapolate below {1 / self.excesses.pairs:.2g}, the smallest that the pairs "
                f"support, got {listed}; measure it with --far"
            )
        return tuple(self._extrapolate(far) for far in fars)

    def _extrapolate(self, far: float) -> Extrapolated:
        pairs, count = self.excesses.pairs, len(self.excesses.values)
        factor = 1 / (far * pairs)
        if factor > REACH * (1 + 1e-9):
            return Extrapolated(
                far, factor, refusal=f"{factor:.0f} times below what the pairs support; validated to {REACH:.0f} times"
            )
        if self.misfit > _MOST_MISFIT:
            return Extrapolated(
                far,
                factor,
                refusal=f"the tail does not fit: {self.misfit:.1f} standard errors off where it is measured",
            )
        excess = self.fit.quantile(far * pairs / count)
        by_shape, by_scale = self.fit.gradient(excess)
        information = self.fit.information()
        scores = self.fit.scores(self.excesses.values)[:, 1]
        # The scale follows the shape, so that the shape acts on the rate in two ways.
        by_shape -= by_scale * information[0, 1] / information[1, 1]
        scale_pull = (scores - scores.mean()) / (information[1, 1] * count)
        influence = 1 / count + by_scale * scale_pull + by_shape * self._weight * self._pull
        found = cluster_variance(self.excesses, influence, of_all=1.0)
        if found.freedom < _LEAST_FREEDOM:
            return Extrapolated(
                far, factor, refusal="a few people make most of the tail; check their labels, or measure more people"
            )
        # What the weighing of the shape leaves open in addition to the noise of the people drawn.
        open_shape = self._weight * (1 - self._weight) * self._shape_variance
        error = math.sqrt(found.variance + by_shape**2 * open_shape)
        reach = float(stats.t.ppf(0.975, found.freedom)) * error
        bounds = far * math.exp(-min(reach, 600.0)), min(1.0, far * math.exp(min(reach, 600.0)))
        return Extrapolated(far, factor, self.threshold(far), bounds)

    def _misfit(self) -> float:
        """The largest distance of measured from fitted shares of the tail, in standard errors over identities."""
        values, count = self.excesses.values, len(self.excesses.values)
        worst = 0.0
        for share in _CHECKED:
            is_above = values > self.fit.quantile(share)
            error = math.sqrt(cluster_variance(self.excesses, (is_above - share) / count).variance)
            worst = max(worst, abs(float(is_above.mean()) - share) / error)
        return worst
