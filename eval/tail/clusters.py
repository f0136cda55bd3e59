"""The variance of an estimate whose pairs share identities."""

from dataclasses import dataclass

import numpy as np

from facexfer.eval.tail.excesses import Excesses

_DOUBLE = 1 / 3


@dataclass(frozen=True)
class Uncertainty:
    """How sure an estimate is.

    Attributes:
        variance: Of the estimate.
        freedom: Degrees of freedom of that variance: few where few people make most of it.
    """

    variance: float
    freedom: float


def cluster_variance(tail: Excesses, influence: np.ndarray, of_all: float = 0.0) -> Uncertainty:
    """The variance of an estimate to first order, by a bootstrap over identities in closed form.

    An estimate that moves by ``influence`` times the change of a pair's weight moves, in the Bayesian bootstrap over
    identities (`facexfer.eval.intervals.identity_interval`), with the sum of its pairs' influences for every identity;
    its variance is the sum of their squares. That counts the noise of each two identities twice, of which a third is
    taken back: all of it (Owen 2007) covers too little where few people make the tail, none of it too much
    (docs/experiments/extrapolation.md).

    Args:
        tail: Whose pairs they are.
        influence: (k,) of each excess.
        of_all: What every impostor pair, in the tail or not, takes away in proportion: 1 for the logarithm of a rate.

    Returns:
        Variance and degrees of freedom (Satterthwaite), never below the variance of independent pairs.
    """
    people = len(tail.pairs_of)
    sums = np.bincount(tail.first, influence, people) + np.bincount(tail.second, influence, people)
    moved = (sums - of_all * tail.pairs_of / tail.pairs)[tail.pairs_of > 0]
    count = len(moved)
    _, two = np.unique(
        np.minimum(tail.first, tail.second).astype(np.int64) * people + np.maximum(tail.first, tail.second),
        return_inverse=True,
    )
    twice = float((np.bincount(two, influence) ** 2).sum())
    squares = float((moved**2).sum())
    variance = max(squares * count / max(count - 1, 1) - _DOUBLE * twice, float((influence**2).sum()))
    uneven = float((moved**4).sum()) - squares**2 / count
    freedom = 2 * squares**2 / uneven if uneven > 0 else float(count)
    return Uncertainty(variance, max(1.0, min(count - 1.0, freedom)))
