"""The generalised Pareto distribution: likelihood, and how each excess pulls on the fit."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize

_FLAT = 1e-6
"""A shape nearer to 0 is taken as this: the limit is the exponential distribution, and its formulas divide by 0."""
_LEAST_SHAPE = -0.45
"""Below -1/2 the likelihood has no finite information (Smith, Biometrika 1985)."""


@dataclass(frozen=True)
class Pareto:
    """Excesses y > 0 with ``P(Y > y) = (1 + shape * y / scale)^(-1 / shape)``.

    Attributes:
        shape: xi; 0 is exponential, above 0 heavier, below 0 with an end.
        scale: sigma.
    """

    shape: float
    scale: float

    def log_survival(self, excess: float | np.ndarray) -> np.ndarray:
        """The logarithm of P(Y > y); minus infinity beyond the end."""
        inside = 1 + self.shape * np.asarray(excess) / self.scale
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(inside > 0, -np.log(inside) / self.shape, -np.inf)

    def quantile(self, share: float) -> float:
        """The excess that a share of all, 0 < share <= 1, is above."""
        return self.scale / self.shape * math.expm1(-self.shape * math.log(share))

    def gradient(self, excess: float) -> tuple[float, float]:
        """The derivatives of `log_survival` by shape and by scale, inside the end."""
        relative = excess / self.scale
        inside = 1 + self.shape * relative
        by_shape = math.log(inside) / self.shape**2 - relative / (self.shape * inside)
        return by_shape, relative / (self.scale * inside)

    def scores(self, excesses: np.ndarray) -> np.ndarray:
        """The derivatives (k, 2) of each excess's log likelihood by shape and by scale."""
        relative = excesses / self.scale
        inside = 1 + self.shape * relative
        by_shape = np.log(inside) / self.shape**2 - (1 + 1 / self.shape) * relative / inside
        by_scale = (-1 + (1 + 1 / self.shape) * self.shape * relative / inside) / self.scale
        return np.stack([by_shape, by_scale], axis=1)

    def information(self) -> np.ndarray:
        """The expected information (2, 2) of one excess about shape and scale."""
        common = 1 / ((1 + self.shape) * (1 + 2 * self.shape))
        return np.array(
            [[2 * common, common / self.scale], [common / self.scale, 1 / (self.scale**2 * (1 + 2 * self.shape))]]
        )


def fit_pareto(excesses: np.ndarray) -> Pareto:
    """Fit shape and scale by maximum likelihood, profiled over shape / scale (Grimshaw, Technometrics 1993).

    Args:
        excesses: (k,), above 0.

    Returns:
        The fit; a shape below -0.45 is taken as that.

    Example:
        >>> excesses = -np.log(1 - (np.arange(1000) + 0.5) / 1000)
        >>> fit = fit_pareto(excesses)
        >>> abs(fit.shape) < 0.02, abs(fit.scale - 1) < 0.02
        (True, True)
    """
    mean, largest = float(excesses.mean()), float(excesses.max())

    def loss(ratio: float) -> float:
        inside = 1 + ratio * excesses
        if inside.min() <= 0:
            return math.inf
        shape = float(np.log(inside).mean())
        if abs(ratio) * mean < 1e-9 or shape / ratio <= 0:
            return math.log(mean) + 1
        return math.log(shape / ratio) + shape + 1

    towards_end = np.geomspace(1e-4, 1, 60)[:-1]
    grid = np.sort(np.concatenate([-(1 - towards_end) / largest, np.geomspace(1e-4, 10, 60) / mean]))
    place = int(np.argmin([loss(ratio) for ratio in grid]))
    bounds = float(grid[max(place - 1, 0)]), float(grid[min(place + 1, len(grid) - 1)])
    ratio = float(optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9 / mean}).x)
    shape = float(np.log1p(ratio * excesses).mean())
    if shape < _LEAST_SHAPE:
        return Pareto(_LEAST_SHAPE, fit_scale(excesses, _LEAST_SHAPE))
    return Pareto(shape, shape / ratio) if abs(shape) > _FLAT else Pareto(_FLAT, mean)


def fit_scale(excesses: np.ndarray, shape: float) -> float:
    """Fit the scale to a given shape by maximum likelihood.

    Args:
        excesses: (k,), above 0.
        shape: Not 0.

    Returns:
        The scale.
    """
    mean = float(excesses.mean())

    def loss(log_scale: float) -> float:
        return log_scale + (1 + 1 / shape) * float(np.log1p(shape * excesses / math.exp(log_scale)).mean())

    # With an end, the largest excess must lie inside it.
    least = max(0.05 * mean, -shape * float(excesses.max()) * (1 + 1e-9))
    found = optimize.minimize_scalar(loss, bounds=(math.log(least), math.log(20 * mean)), method="bounded")
    return math.exp(float(found.x))


def nearly(shape: float) -> float:
    """A shape that the formulas can divide by."""
    return shape if abs(shape) > _FLAT else _FLAT
