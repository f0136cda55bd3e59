"""Which threshold for a door: from how often it is used and how many false accepts can be tolerated."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.errors import InputError
from facexfer.eval.alarms import GalleryDependence, measure_dependence
from facexfer.eval.identification import make_templates
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import operating_points, points_at_thresholds
from facexfer.eval.tail.excesses import collect_excesses
from facexfer.eval.tail.extrapolation import Extrapolated, Tail
from facexfer.eval.unit_length import unit_length
from facexfer.eval.verification import OperatingPoint
from facexfer.files.atomic import write_text
from facexfer.measure.pair_sets import Comparison

_DAYS = 365
_MOST_PROBES = 4000


@dataclass(frozen=True)
class Door:
    """How a door is used.

    Attributes:
        daily_attempts: By everybody.
        impostor_share: Of the attempts, 0 to 1.
        max_false_accepts_per_year: That can be tolerated, above 0.
        gallery_size: People who are looked up (1:N); None or 1 compares with one person (1:1).
    """

    daily_attempts: float
    impostor_share: float
    max_false_accepts_per_year: float
    gallery_size: int | None = None

    def __post_init__(self) -> None:
        counts = (self.daily_attempts, self.max_false_accepts_per_year)
        if not all(0 < count < math.inf for count in counts) or not 0 < self.impostor_share < 1:
            raise InputError(
                "expected finite attempts and false accepts above 0 and a share of impostors between 0 and 1, got "
                f"{self.daily_attempts:g} attempts per day, {self.max_false_accepts_per_year:g} false accepts per year "
                f"and a share of {self.impostor_share:g}; a share of 0.01 is one attempt in a hundred"
            )
        if self.gallery_size is not None and self.gallery_size < 1:
            raise InputError(f"expected a gallery of at least 1 person, got {self.gallery_size}; leave it out for 1:1")
        if self.max_false_accepts_per_year >= self._impostors_per_year:
            raise InputError(
                f"expected fewer false accepts per year than attempts by impostors, of which there are "
                f"{self._impostors_per_year:g}, got {self.max_false_accepts_per_year:g}, which any threshold keeps to; "
                "tolerate fewer"
            )

    @property
    def rate(self) -> float:
        """The share of impostors' attempts that may be accepted."""
        return self.max_false_accepts_per_year / self._impostors_per_year

    @property
    def _impostors_per_year(self) -> float:
        return self.daily_attempts * self.impostor_share * _DAYS


@dataclass(frozen=True)
class Recommendation:
    """A threshold for a door.

    Attributes:
        door: How it is used.
        far: The FAR of single comparisons that it needs.
        threshold: The same person if strictly above.
        is_extrapolated: Whether that FAR was extrapolated and not measured.
        false_accepts_per_year: With its 95 % interval.
        false_rejects_per_day: Likewise.
        dependence: How alarms grow with the gallery, for 1:N.
        failures: How many of how many photos gave no crop, which are false rejects; None where they are not counted.
    """

    door: Door
    far: float
    threshold: float
    is_extrapolated: bool
    false_accepts_per_year: tuple[float, float, float]
    false_rejects_per_day: tuple[float, float, float]
    dependence: GalleryDependence | None = None
    failures: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` and a bundle's ``model.json`` hold it: estimates and 95 % intervals."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        door, accepts, rejects = self.door, self.false_accepts_per_year, self.false_rejects_per_day
        kind = "1:1" if door.gallery_size is None else f"1:{door.gallery_size:,}"
        how = "extrapolated, not measured" if self.is_extrapolated else "measured"
        lost = "" if self.failures is None else ", with {:,} of {:,} photos failed".format(*self.failures)
        found = [
            f"recommended for {kind}, {door.daily_attempts:g} attempts per day, {100 * door.impostor_share:g} % by "
            f"impostors: threshold {self.threshold:.4f} (FAR {self.far:.2g}, {how})",
            f"  false accepts per year: {_rounded(accepts, 2)}",
            f"  false rejects per day: {_rounded(rejects, 3)}{lost}",
        ]
        if self.dependence is not None:
            known = self.dependence
            found.append(
                f"  a gallery of N counts as N^{known.power:.2f} independent entries, measured with "
                f"{known.sizes[0]} to {known.sizes[-1]} people within a factor of {known.worst_ratio:.2f}"
            )
        return found


def recommend(
    whole: Comparison, pairs: PairSet, door: Door, tail: Tail | None = None, failed: int | None = None
) -> Recommendation:
    """Find a door's threshold.

    Args:
        whole: Who can be enrolled and looked up.
        pairs: What was measured.
        door: How it is used.
        tail: Of the same pairs, where a FAR that they do not support may be extrapolated.
        failed: Photos of probes without a crop: so many attempts are rejected besides; None does not count them.

    Returns:
        The threshold and what it means.

    Raises:
        InputError: If the pairs do not support the FAR that the door needs, or too few people are there to say how
            alarms grow with the gallery.
    """
    size = door.gallery_size or 1
    dependence = None if size == 1 else _dependence(whole)
    far = door.rate if dependence is None else dependence.far_for(door.rate, size)
    (point,) = operating_points(pairs, [far])
    is_extrapolated = not point.supported
    if is_extrapolated:
        found = _extrapolated(far, point, tail, pairs)
        assert found.threshold is not None
        threshold, bounds, rate = found.threshold, found.far_ci95, far
        (point,) = points_at_thresholds(pairs, [threshold])
    else:
        assert point.threshold is not None
        assert point.achieved_far is not None
        threshold, bounds, rate = point.threshold, point.far_ci95, point.achieved_far
    assert bounds is not None
    assert point.tar is not None
    assert point.tar_ci95 is not None
    yearly = door.daily_attempts * door.impostor_share * _DAYS
    rates = [each if dependence is None else dependence.alarm_rate(each, size) for each in (rate, *bounds)]
    daily = door.daily_attempts * (1 - door.impostor_share)
    photos = len(whole.probe.labels) + (failed or 0)
    acquired = len(whole.probe.labels) / photos
    low, high = (acquired * bound for bound in point.tar_ci95)
    return Recommendation(
        door,
        far,
        threshold,
        is_extrapolated,
        (yearly * rates[0], yearly * rates[1], yearly * rates[2]),
        (daily * (1 - acquired * point.tar), daily * (1 - high), daily * (1 - low)),
        dependence,
        None if failed is None else (failed, photos),
    )


def _extrapolated(far: float, point: OperatingPoint, tail: Tail | None, pairs: PairSet) -> Extrapolated:
    """Extrapolate a FAR that the pairs do not support, where that was asked for and can be done."""
    if tail is None:
        asked = _rounded_down(far)
        way_out = f", or add --extrapolate {asked}" if _reaches(pairs, [far, float(asked)]) else ""
        raise InputError(
            f"expected pairs that support FAR {far:.2g}, which this door needs; the smallest that "
            f"{point.impostor_pairs:,} impostor pairs support is {point.smallest_far:.2g}; measure more people{way_out}"
        )
    (found,) = tail.extrapolate([far])
    if found.threshold is None:
        raise InputError(f"FAR {far:.2g}, which this door needs, cannot be extrapolated: {found.refusal}")
    return found


def _reaches(pairs: PairSet, fars: Sequence[float]) -> bool:
    """Whether FARs can be extrapolated: from enough people and pairs, not too far, by a tail that fits."""
    try:
        return all(not each.refusal for each in Tail(collect_excesses(pairs)).extrapolate(fars))
    except InputError:
        return False


def _rounded_down(far: float) -> str:
    """One digit of a FAR, below what the pairs support as the FAR itself is."""
    exponent = math.floor(math.log10(far))
    return f"{math.floor(far / 10.0**exponent)}e{exponent:03d}"


def write_into_bundle(folder: Path, recommendation: dict[str, Any], fingerprint: str) -> None:
    """Put a recommendation into a bundle's ``model.json``, under the key ``recommendation``.

    Args:
        folder: The bundle.
        recommendation: Of its network, as `Recommendation.to_json` gives it.
        fingerprint: Of the network that was measured.

    Raises:
        InputError: If it is no bundle, or another network was measured.
    """
    file = folder / "model.json"
    try:
        contract = json.loads(file.read_text(encoding="utf-8"))
        known = contract["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: expected a bundle with model.json, got: {error}; export it again") from error
    if known != fingerprint:
        raise InputError(
            f"{folder}: expected the network that was measured, the bundle holds another; measure the bundle"
        )
    write_text(file, json.dumps({**contract, "recommendation": recommendation}, indent=2) + "\n")


def _dependence(comparison: Comparison) -> GalleryDependence:
    """Measure how alarms grow with the gallery: one template of half of the captures per person."""
    parts = comparison.enrolled(0.5)
    assert parts.gallery is not None
    entries, names = make_templates(parts.gallery.embeddings, parts.gallery.labels)
    places = np.random.default_rng(0).permutation(len(parts.probe.labels))[:_MOST_PROBES]
    probes = unit_length(parts.probe.embeddings[places])
    found = measure_dependence(entries, names, probes, parts.probe.labels[places])
    if found is None:
        raise InputError(
            f"expected enough people and alarms to measure how they grow with the gallery, got {len(names)} enrolled "
            f"people and {len(np.unique(parts.probe.labels))} who are looked up; measure more people, or leave "
            "--gallery-size out"
        )
    return found


def _rounded(found: tuple[float, float, float], digits: int) -> str:
    """A number and its interval with so many digits that mean something, never as a power of ten."""
    value, low, high = (f"{Decimal(f'{each:.{digits}g}'):,f}" for each in found)
    return f"{value} (95 % CI {low} to {high})"
