"""Two networks on the same pairs: how much better is one, and is that significant?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facexfer.errors import InputError
from facexfer.eval.verification import accepted_impostors

_DRAWS = 1000


@dataclass(frozen=True)
class LabelledScores:
    """One network's scores with their identities; the same pairs in the same order for both networks.

    Attributes:
        genuine: (P,) all scores of pairs of one person.
        genuine_identities: (P,) numbers of the person.
        tail: (M,) the highest impostor scores, in falling order, enough of them for every target, with reserve.
        tail_identities: (M, 2) numbers of the two persons.
        tail_weights: (M,) how many pairs each stands for: 1, or more where not all are held.
        impostor_counts: (I, I) is never held: the impostor pairs between two identities are a_i b_j + a_j b_i;
            these are the two columns (I, 2) a and b. For one set, b is a half of a.
        tar: The true accept rate at each target, exact; None where it is not supported.
        groups: (I,) numbers of the identities' groups, of which no two are compared; None where all are.
    """

    genuine: np.ndarray
    genuine_identities: np.ndarray
    tail: np.ndarray
    tail_identities: np.ndarray
    tail_weights: np.ndarray
    impostor_counts: np.ndarray
    tar: tuple[float | None, ...]
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Difference:
    """TAR of the second network minus TAR of the first, each at its own threshold for one FAR.

    Attributes:
        far: The target.
        first: TAR of the first network.
        second: TAR of the second.
        difference: ``second - first``.
        ci95: 95 % interval of the difference, by a bootstrap over identities that uses the pairing.
        p_value: Two-sided: how likely a difference so far from 0 is if the true one is 0.
    """

    far: float
    first: float
    second: float
    difference: float
    ci95: tuple[float, float]
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.ci95[0] > 0 or self.ci95[1] < 0


def paired_differences(
    first: LabelledScores, second: LabelledScores, fars: Sequence[float], impostor_pairs: int
) -> tuple[Difference | None, ...]:
    """Compare two networks at false accept rates.

    Each of 1,000 draws weighs the identities at random (the Bayesian bootstrap; Rubin, Annals of Statistics 1981), a
    pair by the product of its two identities' weights; finds both networks' thresholds again with the same weights;
    and takes the difference of their weighted TARs. What both networks find hard cancels out, and the thresholds' own
    uncertainty is counted. Products of weights overstate the noise of single pairs of identities (Owen 2007), so the
    interval errs on the wide side.

    Args:
        first: The scores of one network.
        second: Of the other, on the same pairs.
        fars: Targets as fractions.
        impostor_pairs: How many impostor pairs there are in all.

    Returns:
        One difference a target; None where the data does not support it.

    Raises:
        InputError: If the two are not on the same pairs.
    """
    if not np.array_equal(first.genuine_identities, second.genuine_identities):
        raise InputError("expected both networks on the same pairs, got different ones; use one manifest for both")
    people = len(first.impostor_counts)
    generator = np.random.default_rng(0)
    sorted_scores = [_Sorted(scores) for scores in (first, second)]
    deviations = np.empty((len(fars), _DRAWS))
    ones = np.ones(people)
    plain = [scores.rates(ones, fars, impostor_pairs) for scores in sorted_scores]
    for draw in range(_DRAWS):
        weights = generator.standard_exponential(people)
        rates = [scores.rates(weights, fars, impostor_pairs) for scores in sorted_scores]
        # Around the plain draw, so that a tail of which not all is held moves nothing.
        deviations[:, draw] = (rates[1] - plain[1]) - (rates[0] - plain[0])
    results: list[Difference | None] = []
    for number, far in enumerate(fars):
        one, other = first.tar[number], second.tar[number]
        if one is None or other is None:
            results.append(None)
            continue
        # Rounding must not make a draw without any difference one.
        drawn = np.round(other - one + deviations[number], 12)
        low, high = np.quantile(drawn, [0.025, 0.975])
        below, above = (drawn <= 0).mean(), (drawn >= 0).mean()
        p_value = min(1.0, 2 * max(min(below, above), 1 / (_DRAWS + 1)))
        results.append(Difference(far, one, other, other - one, (float(low), float(high)), float(p_value)))
    return tuple(results)


class _Sorted:
    def __init__(self, scores: LabelledScores) -> None:
        order = np.argsort(scores.genuine)[::-1]
        self._genuine, self._people = scores.genuine[order], scores.genuine_identities[order]
        self._tail, self._two, self._worth = scores.tail, scores.tail_identities, scores.tail_weights
        self._counts = scores.impostor_counts
        people = len(self._counts)
        self._groups = np.zeros(people, dtype=np.int64) if scores.groups is None else scores.groups

    def rates(self, weights: np.ndarray, fars: Sequence[float], impostor_pairs: int) -> np.ndarray:
        """The weighted TAR at each FAR; 0 where it is not supported."""
        one, other = (self._counts * weights[:, None]).T
        in_group = np.bincount(self._groups, one) * np.bincount(self._groups, other)
        everything = in_group.sum() - (one * other).sum()
        accepted = np.cumsum(self._worth * weights[self._two[:, 0]] * weights[self._two[:, 1]])
        hits = np.concatenate([[0.0], np.cumsum(weights[self._people])])
        rates = []
        for far in fars:
            allowed = accepted_impostors(impostor_pairs, far) / impostor_pairs * everything
            # The threshold is the first score with which more than the allowed weight would be accepted.
            place = int(np.searchsorted(accepted, allowed * (1 + 1e-9), side="right"))
            if not len(self._tail):
                # More impostors tie at the highest score than any target lets pass, as where all embeddings are equal.
                rates.append(0.0)
                continue
            place = min(place, len(self._tail) - 1)
            above = int(np.searchsorted(-self._genuine, -self._tail[place], side="left"))
            rates.append(hits[above] / hits[-1] if allowed else 0.0)
        return np.array(rates)
