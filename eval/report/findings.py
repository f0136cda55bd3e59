"""Everything that an evaluation found out, ready to be written as JSON, as a table or as a page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from facexfer.eval.curves import Curve
from facexfer.eval.folds import FoldAccuracy
from facexfer.eval.identification import Identification
from facexfer.eval.metrics import Measured
from facexfer.eval.paired import Difference
from facexfer.eval.tail.extrapolation import Extrapolated, Tail
from facexfer.eval.verification import OperatingPoint


@dataclass(frozen=True)
class Slice:
    """The operating points of a part of the images, at the thresholds of the whole.

    Attributes:
        value: What these images have in the column.
        images: How many they are.
        points: One per threshold; empty where a kind of pair is missing.
        remark: Why they are missing.
    """

    value: str
    images: int
    points: tuple[OperatingPoint, ...]
    remark: str = ""


@dataclass(frozen=True)
class WithFailures:
    """Rates when every pair with a failed photo counts as rejected.

    Attributes:
        failures: Photos without a crop on the gallery's and on the probes' side; of one set, (0, failures).
        genuine_pairs: All genuine pairs, those with failed photos too.
        impostor_pairs: All impostor pairs likewise.
        tar: One a point; None where it is unsupported.
        far: The achieved false accept rates likewise.
    """

    failures: tuple[int, int]
    genuine_pairs: int
    impostor_pairs: int
    tar: tuple[float | None, ...]
    far: tuple[float | None, ...]


@dataclass(frozen=True)
class BeforeAfter:
    """An old network against a new one on the same images.

    Attributes:
        old: The old network's points.
        differences: New minus old, each at its own threshold; None where a target is not supported.
        mixed: Old gallery against new probes, each target at its own threshold: must everybody be re-enrolled? Empty
            where the embeddings differ in size.
        mixed_at_old_thresholds: The same at the thresholds that the old network runs with.
    """

    old: tuple[OperatingPoint, ...]
    differences: tuple[Difference | None, ...]
    mixed: tuple[OperatingPoint, ...]
    mixed_at_old_thresholds: tuple[OperatingPoint, ...]


@dataclass(frozen=True)
class Beyond:
    """False accept rates below what the pairs support.

    Attributes:
        tail: What they were extrapolated from.
        points: Each with the operating point at its threshold, of which the true accept rate is measured; None where
            the extrapolation is refused.
    """

    tail: Tail
    points: tuple[tuple[Extrapolated, OperatingPoint | None], ...]


@dataclass(frozen=True)
class Findings:
    """An evaluation.

    Attributes:
        comparison: What was compared, e.g. ``vis-nir``.
        points: The operating points asked for.
        curve: Over all thresholds.
        band: Operating points over the whole range of rates, for the curve's band.
        standard: FMR100, FMR1000 and FMR10000: the operating points at FAR 1e-2, 1e-3 and 1e-4.
        distances: Whether the scores are negated distances.
        failures: With failures counted as rejects.
        identification: If asked for.
        slices: By column, if asked for.
        before: Against an old network, if given.
        visible: The same within VIS: what the transfer cost.
        elsewhere: Thresholds of another set, with the target that they were chosen for, applied here.
        folds: Accuracy on a list of pairs, if given.
        notes: What else a person should read, a line each.
        caveats: Why the figures may not be taken as they are, a line each.
        beyond: Extrapolated false accept rates, if asked for.
        facts: Model, data, versions.
    """

    comparison: str
    points: tuple[OperatingPoint, ...]
    curve: Curve
    band: tuple[OperatingPoint, ...]
    standard: tuple[OperatingPoint, ...]
    distances: bool = False
    failures: WithFailures | None = None
    identification: Identification | None = None
    slices: Mapping[str, tuple[Slice, ...]] = field(default_factory=dict)
    before: BeforeAfter | None = None
    visible: BeforeAfter | None = None
    elsewhere: tuple[tuple[float, OperatingPoint], ...] = ()
    folds: FoldAccuracy | None = None
    beyond: Beyond | None = None
    notes: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identities(self) -> int | None:
        """How many identities have genuine pairs; None where identities are not known."""
        # A target that is not supported has no interval, and so no identities; the band has some at any rate.
        points = (*self.points, *self.band)
        return next((point.identities for point in points if point.identities is not None), None)

    @property
    def measured(self) -> Measured:
        """What the metrics are computed from."""
        return Measured(self.curve, self.points, self.standard)
