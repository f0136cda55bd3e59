"""Confidence intervals of proportions."""

import math

from facexfer.errors import InputError

_Z95 = 1.959963984540054


def wilson_interval(accepted: int, pairs: int) -> tuple[float, float]:
    """Give the 95 % Wilson score interval of a proportion (Wilson, JASA 1927).

    It takes the pairs as independent. Pairs that share an identity are not, so for verification it is too narrow;
    treat it as the least uncertainty that there can be.

    Args:
        accepted: How many of them.
        pairs: Of how many, 1 or more.

    Returns:
        (low, high) as fractions.

    Raises:
        InputError: If the counts are no proportion.

    Example:
        >>> [round(bound, 4) for bound in wilson_interval(8, 10)]
        [0.4902, 0.9433]
    """
    if not 0 <= accepted <= pairs or pairs == 0:
        raise InputError(f"expected 0 to n of n > 0 pairs, got {accepted} of {pairs}; check the counts")
    share = accepted / pairs
    spread = _Z95**2 / pairs
    centre = (share + spread / 2) / (1 + spread)
    half = _Z95 / (1 + spread) * math.sqrt(share * (1 - share) / pairs + spread / (4 * pairs))
    # At 0 and at n of n the bound is exact, rounding or not.
    low = 0.0 if accepted == 0 else max(0.0, centre - half)
    high = 1.0 if accepted == pairs else min(1.0, centre + half)
    return low, high
