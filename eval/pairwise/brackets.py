"""Where among many scores the one of a given rank must lie: a bracket that exact counts narrow, and a sample inside."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_SHARE = 0.15


@dataclass(frozen=True)
class Bracket:
    """What is known about the score of a rank (0 the highest): ``low <= score < high``.

    Attributes:
        low: Minus infinity if unknown.
        high: Infinity if unknown.
        base: How many scores are at least ``high``.
        mass: How many lie in the bracket.
        sample: (S,) some of these, falling.
        scale: How many scores one of the sample stands for.
    """

    low: float
    high: float
    base: int
    mass: int
    sample: Tensor
    scale: float

    def limits(self, rank: int, room: int, to_top: bool) -> tuple[float, float]:
        """Choose two limits that the rank's score probably lies between, with few others.

        Args:
            rank: Whose score is looked for.
            room: At most about this many scores may lie strictly between.
            to_top: Whether everything above the lower limit is wanted.

        Returns:
            (low, high), within the bracket; high is infinite for ``to_top``.
        """
        top = math.inf if to_top else self.high
        if not len(self.sample) or self.mass + (self.base if to_top else 0) <= room:
            return self.low, top
        expected = (rank - self.base) / self.scale
        half = _SHARE * expected + 4 * math.sqrt(expected) + 10
        if not to_top:
            half = min(half, room / (4 * self.scale))
        first, last = math.floor(expected - half) - 1, math.ceil(expected + half) + 1
        low = float(self.sample[last]) if last < len(self.sample) else self.low
        high = float(self.sample[first]) if first >= 0 else self.high
        if to_top:
            return low, math.inf
        between = int(((self.sample > low) & (self.sample < high)).sum()) * self.scale
        if low >= high or between > room:
            # Many scores tie: look at one value alone.
            low = float(self.sample[min(round(expected), len(self.sample) - 1)])
            high = next_above(low)
        return low, high

    def within(self, low: float, high: float, base: int, mass: int) -> "Bracket":
        """Narrow the bracket.

        Args:
            low: The new lower end.
            high: The new upper end.
            base: How many scores are at least ``high``.
            mass: How many lie between.

        Returns:
            The narrower one, with what is left of the sample.
        """
        sample = self.sample[(self.sample >= low) & (self.sample < high)]
        return sampled_bracket(low, high, base, mass, sample)


def sampled_bracket(low: float, high: float, base: int, mass: int, sample: Tensor) -> Bracket:
    """Make a bracket with a sample (S,), falling, of what lies inside."""
    return Bracket(low, high, base, mass, sample, max(1.0, mass / max(1, len(sample))))


def next_above(score: float) -> float:
    """The next larger float32 that is not denormal: denormals count as zero where they are flushed.

    Example:
        >>> next_above(1.0)
        1.0000001192092896
    """
    smallest = torch.finfo(torch.float32).tiny
    if abs(score) < smallest:
        return smallest
    if score == -smallest:
        return 0.0
    return float(torch.nextafter(torch.tensor(score), torch.tensor(math.inf)))
