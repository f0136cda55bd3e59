"""What a test set can show, from its size alone: pairs, rules, intervals to expect, and what narrower ones take."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from facexfer.errors import InputError
from facexfer.eval.intervals import fewest_pairs, wilson_interval
from facexfer.eval.verification import check_fars

_Z95 = 1.959963984540054
_MOST_PEOPLE = 10_000_000
_RULES = {"supported": 1, "rule of three": 3, "rule of thirty": 30}


@dataclass(frozen=True)
class Dependence:
    """How much pairs that share people agree, as measured on our sets (docs/experiments/planning.md).

    Attributes:
        genuine: Correlation of two genuine pairs of one person, accepted or not.
        two_people: Correlation of two impostor pairs of the same two people.
        person: Variance of people's own false accept rates, relative to the mean squared, at FAR 1e-3.
        person_rise: It grows as FAR falls: by FAR to the power of minus this.
        slope: By how much the logit of TAR rises when the logarithm of FAR does by 1.
    """

    genuine: float = 0.24
    two_people: float = 0.06
    person: float = 0.6
    person_rise: float = 0.35
    slope: float = 0.4


@dataclass(frozen=True)
class Design:
    """A test set.

    Attributes:
        people: How many, at least 2.
        images: Of each, at least 2.
        dependence: How much pairs agree.
    """

    people: int
    images: int
    dependence: Dependence = Dependence()

    def __post_init__(self) -> None:
        if self.people < 2 or self.images < 2:
            raise InputError(
                f"expected at least 2 people with at least 2 images each, got {self.people} and {self.images}; without "
                "them there is no genuine or no impostor pair"
            )

    @property
    def genuine_pairs(self) -> int:
        """All pairs of one person's images."""
        return self.people * self.images * (self.images - 1) // 2

    @property
    def impostor_pairs(self) -> int:
        """All pairs of images of two people."""
        return self.people * (self.people - 1) // 2 * self.images**2

    def supports(self, far: float) -> bool:
        """Whether TAR can be measured at this FAR at all."""
        return self.impostor_pairs >= fewest_pairs(far, 1)

    def smallest_far(self, errors: int) -> float:
        """The smallest FAR at which so many false accepts are expected.

        Example:
            >>> f"{Design(80, 6).smallest_far(3):.2g}"
            '2.6e-05'
        """
        return min(1.0, errors / self.impostor_pairs)

    def far_interval(self, far: float) -> tuple[float, float]:
        """The 95 % interval to expect where this FAR is measured: Wilson's, of as many pairs as the pairs are worth.

        Two kinds of dependence widen it: pairs of the same two people agree, and some people are falsely accepted more
        often than others. With k false accepts expected, m images and I people the variance is
        ``1 + (m^2 - 1) two_people + 4 k person / I`` times that of independent pairs.

        Args:
            far: 0 < far < 1.
        """
        worth = self.impostor_pairs / self.far_effect(far)
        return wilson_interval(far * worth, worth)

    def far_effect(self, far: float) -> float:
        """The design effect of impostor pairs: the factor of the variance of the false accept rate."""
        known = self.dependence
        unevenness = known.person * math.pow(far / 1e-3, -known.person_rise)
        expected = far * self.impostor_pairs
        return 1 + (self.images**2 - 1) * known.two_people + 4 * expected * unevenness / self.people

    def tar_effect(self) -> float:
        """The design effect of genuine pairs: ``1 + (n - 1) genuine`` with n pairs per person."""
        return 1 + (self.images * (self.images - 1) / 2 - 1) * self.dependence.genuine

    def tar_interval(self, tar: float, far: float) -> tuple[float, float]:
        """The 95 % interval to expect of TAR at a FAR, on the logit scale.

        The genuine pairs of a person agree, and the threshold is found on the same people: its noise moves TAR by
        ``slope``.

        Args:
            tar: 0 < tar < 1.
            far: 0 < far < 1.
        """
        own = self.tar_effect() / (self.genuine_pairs * tar * (1 - tar))
        expected = far * self.impostor_pairs
        of_threshold = self.dependence.slope**2 * self.far_effect(far) / max(expected, 1.0)
        half = _Z95 * math.sqrt(own + of_threshold)
        middle = math.log(tar / (1 - tar))
        # The logistic function by the hyperbolic tangent, which does not overflow.
        low, high = ((1 + math.tanh((middle + side * half) / 2)) / 2 for side in (-1, 1))
        return low, high

    def tar_width(self, tar: float, far: float) -> float:
        """The width of `tar_interval`, as a fraction."""
        low, high = self.tar_interval(tar, far)
        return high - low


def people_for(images: int, is_enough: Callable[[Design], bool], dependence: Dependence | None = None) -> int | None:
    """The fewest people with whom a design is good enough.

    Args:
        images: Of each person.
        is_enough: Whether it is; once it is, it stays so with more people.
        dependence: How much pairs agree.

    Returns:
        How many; None if ten million are too few.

    Example:
        >>> people_for(6, lambda design: design.impostor_pairs >= fewest_pairs(1e-5, 30))
        409
    """
    known = dependence or Dependence()
    low, high = 1, 2
    while not is_enough(Design(high, images, known)):
        low, high = high, high * 2
        if high > _MOST_PEOPLE:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(Design(middle, images, known)) else (middle, high)
    return high


def describe_design(design: Design, far: float, tar: float, width: float | None = None) -> list[str]:
    """Say in lines what a test set will show.

    Args:
        design: The set.
        far: The target.
        tar: The true accept rate that is hoped for, a fraction.
        width: The width that its 95 % interval should have, a fraction; None asks for none.

    Returns:
        Lines of text.

    Raises:
        InputError: If a rate is not between 0 and 1.
    """
    check_fars([far])
    if far == 1:
        raise InputError("expected a FAR between 0 and 1, got 1; give a fraction such as 1e-3")
    for name, rate in (("TAR", tar), *((("width", width),) if width is not None else ())):
        if not 0 < rate < 1:
            raise InputError(f"expected a {name} between 0 and 100 %, got {100 * rate:g}; write 95 for 95 %")
    expected = far * design.impostor_pairs
    lines = [
        f"{design.people:,} people with {design.images} images each: {design.genuine_pairs:,} genuine and "
        f"{design.impostor_pairs:,} impostor pairs",
        f"FAR {far:g}: {expected:.3g} false accepts expected",
    ]
    for name, errors in _RULES.items():
        needed = fewest_pairs(far, errors)
        people = people_for(design.images, lambda each, n=needed: each.impostor_pairs >= n)  # type: ignore[misc]
        verdict = "holds" if design.impostor_pairs >= needed else "does not hold"
        lines.append(
            f"  {name}: {verdict}; needs {needed:,} impostor pairs ({_count(people)}); this set's smallest FAR is "
            f"{design.smallest_far(errors):.2g}"
        )
    low, high = design.far_interval(far)
    lines.append(
        f"  95 % CI of FAR to expect: {low:.2g} to {high:.2g} (by identity; the pairs are worth "
        f"{design.impostor_pairs / design.far_effect(far):,.0f} independent ones)"
    )
    if design.supports(far):
        lines.append(_expected_tar(design, far, tar))
    else:
        lines.append(f"TAR: not measured at FAR {far:g} with so few impostor pairs")
    if width is not None:
        lines += _for_width(design, far, tar, width)
    return lines


def _expected_tar(design: Design, far: float, tar: float) -> str:
    low, high = design.tar_interval(tar, far)
    independent = wilson_interval(tar * design.genuine_pairs, design.genuine_pairs)
    return (
        f"TAR {100 * tar:g} %: 95 % CI to expect {100 * low:.1f} to {100 * high:.1f} %, {100 * (high - low):.1f} "
        f"points wide (if pairs were independent: {100 * (independent[1] - independent[0]):.1f})"
    )


def _count(people: int | None) -> str:
    return "more than ten million people" if people is None else f"{people:,} people"


def _for_width(design: Design, far: float, tar: float, width: float) -> list[str]:
    known = design.dependence
    lines = []
    for images in dict.fromkeys((design.images, 2 * design.images)):
        people = people_for(images, lambda each: each.supports(far) and each.tar_width(tar, far) <= width, known)
        lines.append(f"  {100 * width:g} points wide: {_count(people)} with {images} images each")
    larger = [each for images in range(2, 201) if (each := Design(design.people, images, known)).supports(far)]
    floor = min((each.tar_width(tar, far) for each in larger), default=1.0)
    if not larger:
        lines.append(f"  more images of the same {design.people:,} people cannot do it: FAR {far:g} is not supported")
    elif floor > width:
        lines.append(
            f"  more images of the same {design.people:,} people cannot do it: {100 * floor:.1f} points at best"
        )
    return lines
