"""Several networks on the same images: what a transfer has changed, and whether that is significant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from facexfer.data.manifest import Manifest
from facexfer.eval.collect import curve_of_pairs
from facexfer.eval.curves import Curve
from facexfer.eval.paired import Difference
from facexfer.eval.report.as_json import points_to_json
from facexfer.eval.scores import operating_points
from facexfer.eval.verification import OperatingPoint
from facexfer.measure.embedder import Embedder
from facexfer.measure.pair_sets import Comparison, distinct_side
from facexfer.measure.questions import before_and_after

COMPARISONS: tuple[tuple[str, str | None], ...] = (("vis", None), ("nir", None), ("nir", "vis"))
"""(probe, gallery): within VIS, within NIR, and NIR probes against a VIS gallery."""


@dataclass(frozen=True)
class Measured:
    """One network in one comparison.

    Attributes:
        points: One per false accept rate.
        curve: Over all thresholds.
    """

    points: tuple[OperatingPoint, ...]
    curve: Curve


@dataclass(frozen=True)
class NetworkFindings:
    """Several networks on the same images.

    Attributes:
        fars: The false accept rates, as fractions.
        measured: Comparison (``vis``, ``nir``, ``vis-nir``) -> network's name -> metrics.
        differences: (new network, old network, comparison) -> one difference per false accept rate; None where a rate
            is not supported.
    """

    fars: tuple[float, ...]
    measured: Mapping[str, Mapping[str, Measured]]
    differences: Mapping[tuple[str, str, str], tuple[Difference | None, ...]]

    def to_json(self) -> dict[str, Any]:
        """The metrics, ready for JSON."""
        return {
            comparison: {name: points_to_json(each.points) for name, each in networks.items()}
            for comparison, networks in self.measured.items()
        }


def measure_networks(
    networks: Mapping[str, Embedder], images: Manifest, fars: Sequence[float], asked: Sequence[tuple[str, str]]
) -> NetworkFindings:
    """Measure networks within VIS, within NIR, and across.

    Args:
        networks: By name.
        images: Of people whom none of them has trained on, in both modalities.
        fars: False accept rates, as fractions.
        asked: (new, old) names of networks whose difference is wanted.

    Returns:
        The findings.

    Raises:
        InputError: If a modality is not there or a crop is unfit.
    """
    modalities = {modality: images.select(modality=modality) for modality in ("vis", "nir")}
    comparisons: dict[str, dict[str, Comparison]] = {}
    for name, embedder in networks.items():
        sides = {modality: distinct_side(embedder, chosen)[0] for modality, chosen in modalities.items()}
        for probe, gallery in COMPARISONS:
            title = probe if gallery is None else f"{gallery}-{probe}"
            comparison = Comparison(title, sides[probe], None if gallery is None else sides[gallery])
            comparisons.setdefault(title, {})[name] = comparison
    measured = {
        title: {name: _measure(comparison, fars) for name, comparison in of_network.items()}
        for title, of_network in comparisons.items()
    }
    differences = {
        (new, old, title): before_and_after(of_network[old], of_network[new], fars).differences
        for title, of_network in comparisons.items()
        for new, old in asked
    }
    return NetworkFindings(tuple(fars), measured, differences)


def _measure(comparison: Comparison, fars: Sequence[float]) -> Measured:
    pairs = comparison.pairs()
    return Measured(operating_points(pairs, fars), curve_of_pairs(pairs))
