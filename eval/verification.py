"""Verification at a fixed false accept rate.

The definition, ties included: with N impostor scores and ``k = floor(FAR * N + 1e-9)``, the threshold is the (k+1)-th
highest impostor score, and a pair is accepted if its score is strictly above it. At most k impostor pairs are accepted,
so the achieved FAR never exceeds the target. TAR is the accepted share of all genuine pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facexfer.errors import InputError
from facexfer.eval.intervals import fewest_pairs, wilson_interval

SMALLEST_FAR = 1e-15
"""The smallest target: more impostor pairs than it needs have never been compared."""

_CHUNK = 1_000_000


@dataclass(frozen=True)
class OperatingPoint:
    """What a verifier does at one threshold; rates are fractions.

    Attributes:
        far: The target.
        supported: Whether there are impostor pairs enough, ``FAR * N >= 1``; if not, the metrics are None.
        threshold: A pair is accepted if its score is strictly above.
        achieved_far: The accepted share of the impostor pairs, at most `far`.
        tar: The accepted share of the genuine pairs.
        tar_ci95: 95 % interval of `tar`: by a bootstrap over identities where identities are known, which counts that
            the threshold of a target was found on the same identities; otherwise Wilson's at this threshold.
        far_ci95: 95 % interval of the false accept rate at this threshold, by identity or Wilson's likewise.
        tar_ci95_wilson: 95 % interval of `tar` as if pairs were independent (Wilson).
        far_ci95_wilson: The same of the false accept rate.
        genuine_pairs: How many there are.
        impostor_pairs: How many there are.
        false_accepts: How many impostor pairs are accepted.
        identities: How many identities have a genuine pair; None where identities are not known.
    """

    far: float
    supported: bool
    threshold: float | None
    achieved_far: float | None
    tar: float | None
    tar_ci95: tuple[float, float] | None
    far_ci95: tuple[float, float] | None
    tar_ci95_wilson: tuple[float, float] | None
    far_ci95_wilson: tuple[float, float] | None
    genuine_pairs: int
    impostor_pairs: int
    false_accepts: int | None
    identities: int | None = None

    @property
    def smallest_far(self) -> float:
        """The smallest false accept rate that this many impostor pairs can support."""
        return 1 / self.impostor_pairs

    @property
    def reliable_far(self) -> float | None:
        """The smallest false accept rate that the rule of thirty trusts with these impostor pairs; None below 30."""
        return 30 / self.impostor_pairs if self.impostor_pairs >= 30 else None

    @property
    def meets_rule_of_3(self) -> bool:
        """Whether at least three false accepts are expected at the target."""
        return self.far > 0 and self.impostor_pairs >= fewest_pairs(self.far, 3)

    @property
    def meets_rule_of_30(self) -> bool:
        """Whether at least thirty false accepts are expected at the target."""
        return self.far > 0 and self.impostor_pairs >= fewest_pairs(self.far, 30)

    @property
    def remark(self) -> str:
        """Why the point is unsupported or rests on too few pairs; empty if neither."""
        if not self.supported:
            return (
                f"FAR {self.far:g} needs at least {fewest_pairs(self.far, 1):,} impostor pairs, this set has "
                f"{self.impostor_pairs:,}; the smallest FAR it supports is {self.smallest_far:.2g}"
            )
        if self.far == 0:
            return f"no false accept among {self.impostor_pairs:,} impostor pairs"
        reliable = self.reliable_far
        support = "so few support no FAR" if reliable is None else f"it supports FAR {reliable:.2g}"
        for errors, met, rule in ((3, self.meets_rule_of_3, "three"), (30, self.meets_rule_of_30, "thirty")):
            if not met:
                return (
                    f"FAR {self.far:g} breaks the rule of {rule}: it needs at least {fewest_pairs(self.far, errors):,} "
                    f"impostor pairs, this set has {self.impostor_pairs:,}; by the rule of thirty {support}"
                )
        return ""


def tar_at_far(genuine: np.ndarray, impostor: np.ndarray, fars: Sequence[float]) -> tuple[OperatingPoint, ...]:
    """Measure the true accept rate at false accept rates.

    Args:
        genuine: (P,) scores of pairs of one person, higher meaning more alike.
        impostor: (N,) scores of pairs of two.
        fars: The targets, each above 0 and at most 1.

    Returns:
        One point a target, in their order.

    Raises:
        InputError: If a set of scores is empty, not one-dimensional or not finite, or a target is out of range.

    Example:
        >>> point = tar_at_far(np.array([0.9, 0.5, 0.3]), np.array([0.4, 0.3, 0.2, 0.1]), [0.25])[0]
        >>> point.threshold, point.achieved_far, round(point.tar, 3)
        (0.3, 0.25, 0.667)
    """
    return points_of(_checked(genuine, "genuine"), impostor, fars)


def points_of(genuine: np.ndarray, impostor: np.ndarray, fars: Sequence[float]) -> tuple[OperatingPoint, ...]:
    """Measure TAR at FAR as `tar_at_far` does, also where some genuine pairs are never to be accepted.

    Args:
        genuine: (P,) scores; minus infinity is below every threshold, also that of a target of 1.
        impostor: (N,) scores.
        fars: The targets, each above 0 and at most 1.

    Returns:
        One point a target, in their order.

    Raises:
        InputError: If the impostor scores are empty, not one-dimensional or not finite, or a target is out of range.
    """
    impostor = _checked(impostor, "impostor")
    check_fars(fars)
    tail = highest_scores(impostor, tail_length(len(impostor), fars))
    return points_from_tail(genuine, tail, len(impostor), fars)


def point_at(genuine: np.ndarray, impostor: np.ndarray, threshold: float) -> OperatingPoint:
    """Measure TAR and FAR at a threshold that was chosen elsewhere.

    Args:
        genuine: (P,) scores, higher meaning more alike.
        impostor: (N,) scores.
        threshold: A pair is accepted if its score is strictly above.

    Returns:
        The point; its ``far`` is the achieved one.

    Raises:
        InputError: As for `tar_at_far`.

    Example:
        >>> point = point_at(np.array([0.9, 0.5]), np.array([0.6, 0.2, 0.1, 0.0]), 0.5)
        >>> point.tar, point.achieved_far
        (0.5, 0.25)
    """
    genuine, impostor = _checked(genuine, "genuine"), _checked(impostor, "impostor")
    # As float64: compared with scores of half precision a bare number would be rounded to theirs.
    accepted = [int(np.count_nonzero(scores > np.float64(threshold))) for scores in (genuine, impostor)]
    return make_point(accepted[1] / len(impostor), threshold, (accepted[0], len(genuine)), (accepted[1], len(impostor)))


def tail_length(impostor_pairs: int, fars: Sequence[float]) -> int:
    """How many of the highest impostor scores decide all targets: k + 1 for the largest target, at most all."""
    return min(impostor_pairs, max(accepted_impostors(impostor_pairs, far) for far in fars) + 1)


def accepted_impostors(impostor_pairs: int, far: float) -> int:
    """k, the most impostor pairs that a target lets pass."""
    return math.floor(far * impostor_pairs + 1e-9)


def highest_scores(scores: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` highest scores, highest first, without sorting or copying the others."""
    kept = scores[:0]
    for start in range(0, len(scores), _CHUNK):
        part = scores[start : start + _CHUNK]
        if len(kept) == count:
            # Scores equal to the lowest kept one would not change the result.
            part = part[part > kept[0]]
        kept = np.concatenate([kept, part])
        if len(kept) >= count:
            kept = np.partition(kept, len(kept) - count)[len(kept) - count :]
    return np.sort(kept)[::-1]


def points_from_tail(
    genuine: np.ndarray, tail: np.ndarray, impostor_pairs: int, fars: Sequence[float]
) -> tuple[OperatingPoint, ...]:
    """Find the operating points from the highest impostor scores.

    Args:
        genuine: (P,) all genuine scores.
        tail: The `tail_length` highest impostor scores, highest first.
        impostor_pairs: N, of which the tail are some.
        fars: The targets.

    Returns:
        One point a target.
    """
    genuine = np.sort(genuine)
    points = []
    for far in fars:
        k = accepted_impostors(impostor_pairs, far)
        if k == 0:
            points.append(make_point(far, None, (0, len(genuine)), (0, impostor_pairs)))
            continue
        # A target of 1 accepts everybody: there is no (N+1)-th score.
        threshold = float(tail[k]) if k < impostor_pairs else -math.inf
        accepted = len(genuine) - int(np.searchsorted(genuine, threshold, side="right"))
        false_accepts = int(np.count_nonzero(tail > threshold))
        points.append(make_point(far, threshold, (accepted, len(genuine)), (false_accepts, impostor_pairs)))
    return tuple(points)


def make_point(
    far: float, threshold: float | None, genuine: tuple[int, int], impostor: tuple[int, int]
) -> OperatingPoint:
    """Put an operating point together from counts; its intervals take pairs as independent.

    Args:
        far: The target.
        threshold: None where the target is not supported.
        genuine: (accepted, all) genuine pairs.
        impostor: (accepted, all) impostor pairs.

    Returns:
        The point.
    """
    if threshold is None:
        return OperatingPoint(
            far, False, None, None, None, None, None, None, None, genuine[1], impostor[1], false_accepts=None
        )
    tar_interval, far_interval = wilson_interval(*genuine), wilson_interval(*impostor)
    return OperatingPoint(
        far=far,
        supported=True,
        threshold=threshold,
        achieved_far=impostor[0] / impostor[1],
        tar=genuine[0] / genuine[1],
        tar_ci95=tar_interval,
        far_ci95=far_interval,
        tar_ci95_wilson=tar_interval,
        far_ci95_wilson=far_interval,
        genuine_pairs=genuine[1],
        impostor_pairs=impostor[1],
        false_accepts=impostor[0],
    )


def check_fars(fars: Sequence[float]) -> None:
    """Check the targets.

    Raises:
        InputError: If the list is empty, or a target is not above 0 and at most 1, or below `SMALLEST_FAR`.
    """
    if not fars:
        raise InputError("expected at least one FAR, got none; 1e-3 is a usual one")
    for far in fars:
        if not 0 < far <= 1:
            raise InputError(f"expected a FAR above 0 and at most 1, got {far:g}; give a fraction such as 1e-3")
        if far < SMALLEST_FAR:
            raise InputError(f"expected a FAR of at least {SMALLEST_FAR:g}, got {far:g}; no set has pairs for less")


def _checked(scores: np.ndarray, what: str) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 1 or len(scores) == 0:
        raise InputError(f"expected {what} scores of shape (P,) with P > 0, got {scores.shape}; flatten or add pairs")
    if scores.dtype.kind not in "iuf" or not np.isfinite(scores).all():
        raise InputError(f"expected finite {what} scores, got NaN, infinite or other values; check the embeddings")
    return scores
