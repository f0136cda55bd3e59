"""The impostor pairs most alike, on the scale on which their tail is a simple one."""

from dataclasses import dataclass

import numpy as np

from facexfer.errors import InputError
from facexfer.eval.pairwise.cuts import find_cuts
from facexfer.eval.pairwise.pairs import PairSet

MOST = 1000
"""Impostor pairs above the base of the tail; fewer where that would be more than `_SHARE` of all."""
LEAST = 100
"""With fewer, nothing can be said of a tail."""
LEAST_PEOPLE = 60
"""With 40 people of a few kinds, intervals held the truth in 87 % of cases only (docs/experiments/extrapolation.md)."""
_SHARE = 0.01


@dataclass(frozen=True)
class Excesses:
    """How far the highest impostor scores lie above the base of the tail, and whose they are.

    Attributes:
        base: The cosine above which the tail begins.
        values: (k,) ``to_scale(score) - to_scale(base)``, above 0.
        first: (k,) the number of one identity of each pair, ``0 <= number < len(pairs_of)``.
        second: (k,) the number of the other one.
        pairs: All impostor pairs.
        pairs_of: (I,) impostor pairs of each identity; a pair counts for both of its identities.
    """

    base: float
    values: np.ndarray
    first: np.ndarray
    second: np.ndarray
    pairs: int
    pairs_of: np.ndarray

    def narrowed(self, count: int) -> "Excesses":
        """The tail that begins higher, with at most so many pairs above its base.

        Args:
            count: Fewer than there are, or as many.

        Returns:
            The highest ones, above the next one.
        """
        if count >= len(self.values):
            return self
        order = np.argsort(-self.values, kind="stable")
        start = float(self.values[order[count]])
        kept = order[:count][self.values[order[:count]] > start]
        base = from_scale(float(to_scale(self.base)) + start)
        return Excesses(base, self.values[kept] - start, self.first[kept], self.second[kept], self.pairs, self.pairs_of)


def to_scale(cosine: float | np.ndarray) -> np.ndarray:
    """Put a cosine on the scale of the tail: ``x = -log(1 - cosine^2)``.

    Of two directions that are drawn at random in D dimensions, the cosine c > 0 is exceeded with probability about
    (1 - c^2)^((D - 1) / 2) up to a slowly changing factor: on this scale the tail falls exponentially. The cosine's
    upper end, 1, lies at infinity, so that no estimate of an end is needed.

    Args:
        cosine: From 0 to 1.

    Example:
        >>> round(float(to_scale(0.5)), 4)
        0.2877
    """
    return -np.log1p(-np.square(np.minimum(cosine, 1 - 1e-12)))


def from_scale(value: float) -> float:
    """The cosine at a place of the scale, the inverse of `to_scale`.

    Example:
        >>> round(from_scale(float(to_scale(0.5))), 6)
        0.5
    """
    return float(np.sqrt(-np.expm1(-value)))


def collect_excesses(pairs: PairSet) -> Excesses:
    """Collect the tail of a pair set.

    Args:
        pairs: What is compared.

    Returns:
        The 1,000 highest impostor scores, or the highest hundredth where that is fewer.

    Raises:
        InputError: If there are fewer than 60 people, the highest hundredth is fewer than 100, the tail would begin at
            a cosine below 0, or so many pairs tie where it begins that fewer than 100 lie above.
    """
    pairs_of = pairs.identity_counts()[0]
    people = int((pairs_of > 0).sum())
    if people < LEAST_PEOPLE:
        raise InputError(
            f"expected at least {LEAST_PEOPLE} people to extrapolate from, got {people}; measure more people"
        )
    count = min(MOST, int(_SHARE * pairs.impostor_pairs))
    if count < LEAST:
        raise InputError(
            f"expected at least {round(LEAST / _SHARE):,} impostor pairs to extrapolate from, got "
            f"{pairs.impostor_pairs:,}; measure more people"
        )
    (cut,) = find_cuts(pairs, [count])
    assert cut.above is not None
    if cut.threshold <= 0:
        raise InputError(
            f"expected the {count:,} most similar impostor pairs to have cosines above 0, the lowest is "
            f"{cut.threshold:.3f}; these do not look like face embeddings"
        )
    if cut.accepted < LEAST:
        raise InputError(
            f"expected few impostor pairs of exactly equal cosine to extrapolate from, got so many at "
            f"{cut.threshold:.3f} that {cut.accepted} of the {count:,} most similar ones lie above; look for pictures "
            "that are listed under several people"
        )
    scores = cut.above.scores.double().cpu().numpy()
    return Excesses(
        base=cut.threshold,
        values=to_scale(scores) - float(to_scale(cut.threshold)),
        first=pairs.row_identities[cut.above.rows.long()].cpu().numpy(),
        second=pairs.column_identities[cut.above.columns.long()].cpu().numpy(),
        pairs=pairs.impostor_pairs,
        pairs_of=pairs_of,
    )
