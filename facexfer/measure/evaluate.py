"""Put an evaluation together: from a comparison, or from scores, to findings."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from facexfer.data.failures import Failure
from facexfer.data.images import read_rgb
from facexfer.eval.collect import curve_of_pairs, worst_pairs
from facexfer.eval.curves import curve_of_scores
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.report.bands import envelope_of_curve, envelope_of_pairs
from facexfer.eval.report.findings import Beyond, Findings
from facexfer.eval.report.page import ShownPair
from facexfer.eval.score_files import ScoreSet
from facexfer.eval.scores import operating_points, points_at_thresholds
from facexfer.eval.tail.excesses import collect_excesses
from facexfer.eval.tail.extrapolation import Tail
from facexfer.eval.verification import OperatingPoint, point_at, tar_at_far
from facexfer.measure.pair_sets import Comparison, Side
from facexfer.measure.questions import before_and_after, count_failures, search, slice_by
from facexfer.measure.recommend import Door, recommend

_STANDARD = (1e-2, 1e-3, 1e-4)
_PACKAGES = ("facexfer", "numpy", "torch", "onnxruntime", "insightface")


@dataclass(frozen=True)
class Request:
    """What to find out besides TAR at FAR.

    Attributes:
        fars: The targets as fractions.
        thresholds: Thresholds of another set with the target that they were chosen for, in this order (target,
            threshold).
        identify: Whether to look people up.
        templates: Whether identities are enrolled as templates of half of their captures.
        columns: Slice by these columns of the manifest.
        probe_failures: Photos without a crop, of the one set or the probes; None does not count failures.
        gallery_failures: Of the gallery.
        device: Where products are made.
        extrapolate: False accept rates below what the pairs support.
        door: How the network will be used: recommend a threshold.
    """

    fars: tuple[float, ...]
    thresholds: tuple[tuple[float, float], ...] = ()
    identify: bool = False
    templates: bool = False
    columns: tuple[str, ...] = ()
    probe_failures: tuple[Failure, ...] | None = None
    gallery_failures: tuple[Failure, ...] = ()
    device: str = "cpu"
    extrapolate: tuple[float, ...] = ()
    door: Door | None = None


def evaluate_comparison(
    whole: Comparison,
    request: Request,
    old: Comparison | None = None,
    visible: tuple[Comparison, Comparison] | None = None,
    facts: dict[str, Any] | None = None,
) -> Findings:
    """Answer every question asked about a comparison.

    Args:
        whole: Which embeddings are compared.
        request: What is asked.
        old: The same images by an old network, to compare with.
        visible: The old and the new network within visible light.
        facts: Model and data.

    Returns:
        The findings.

    Raises:
        InputError: If a kind of pair is missing or a column is not there.
    """
    comparison = whole.with_templates() if request.templates else whole
    pairs = comparison.pairs(request.device)
    points = _several(lambda fars: operating_points(pairs, fars), request.fars, _STANDARD)
    curve = curve_of_pairs(pairs)
    thresholds = [point.threshold for point in points[0] if point.threshold is not None]
    failures = None
    if request.probe_failures is not None:
        of_gallery = None if whole.gallery is None else request.gallery_failures
        failures = count_failures(comparison, points[0], request.probe_failures, of_gallery)
    before = None
    if old is not None:
        before = before_and_after(
            old.with_templates() if request.templates else old, comparison, request.fars, request.device
        )
    tail = Tail(collect_excesses(pairs)) if request.extrapolate else None
    failed = None if request.probe_failures is None else len(request.probe_failures)
    advice = None if request.door is None else recommend(whole, pairs, request.door, tail, failed)
    more = {} if advice is None else {"recommendation": advice.to_json()}
    elsewhere = points_at_thresholds(pairs, [threshold for _, threshold in request.thresholds])
    return Findings(
        comparison=comparison.name,
        points=points[0],
        standard=points[1],
        band=envelope_of_pairs(pairs, curve),
        curve=curve,
        failures=failures,
        identification=search(whole, tuple(dict.fromkeys((0.1, *request.fars))), request.templates)
        if request.identify
        else None,
        slices={column: slice_by(comparison, column, thresholds, request.device) for column in request.columns},
        before=before,
        visible=before_and_after(*visible, request.fars, request.device) if visible is not None else None,
        elsewhere=tuple(zip((far for far, _ in request.thresholds), elsewhere, strict=True)),
        beyond=None if tail is None else _beyond(pairs, tail, request.extrapolate),
        notes=() if advice is None else tuple(advice.lines()),
        facts=(facts or {}) | more | {"versions": _versions()},
    )


def evaluate_scores(scores: ScoreSet, request: Request) -> Findings:
    """Answer what scores alone can tell.

    Args:
        scores: Of any toolkit.
        request: What is asked; what needs images or identities is not answered.

    Returns:
        The findings; intervals take pairs as independent, since the identities are unknown.
    """
    sign = -1 if scores.distances else 1
    points = _several(lambda fars: tar_at_far(scores.genuine, scores.impostor, fars), request.fars, _STANDARD)
    curve = curve_of_scores(scores.genuine, scores.impostor)
    return Findings(
        comparison="scores",
        points=points[0],
        standard=points[1],
        band=envelope_of_curve(curve),
        curve=curve,
        distances=scores.distances,
        elsewhere=tuple(
            (far, point_at(scores.genuine, scores.impostor, sign * threshold)) for far, threshold in request.thresholds
        ),
        facts={"versions": _versions()},
    )


def show_worst(comparison: Comparison, count: int, pictures: bool) -> list[ShownPair]:
    """Collect the worst false accepts and false rejects for people to look at.

    Args:
        comparison: Which embeddings are compared; with images, or there is nothing to show.
        count: How many of each kind.
        pictures: Whether to put the images in; they are biometric data.

    Returns:
        The pairs.
    """
    rows = comparison.gallery if comparison.gallery is not None else comparison.probe
    if not rows.images or not comparison.probe.images:
        return []
    kinds = zip(("false accept", "false reject"), worst_pairs(comparison.pairs(), count), strict=True)
    return [
        show_pair(kind, pair.score, (rows, pair.row), (comparison.probe, pair.column), pictures)
        for kind, pairs in kinds
        for pair in pairs
    ]


def show_pair(kind: str, score: float, first: tuple[Side, int], second: tuple[Side, int], pictures: bool) -> ShownPair:
    """Describe a pair for the report.

    Args:
        kind: ``false accept`` or ``false reject``.
        score: Of the pair.
        first: A side and the place of the image in it.
        second: The other one.
        pictures: Whether to put the images in.

    Returns:
        The pair.
    """
    return ShownPair(
        kind,
        score,
        (_caption(*first), _caption(*second)),
        (_picture(*first), _picture(*second)) if pictures else (),
    )


def _beyond(pairs: PairSet, tail: Tail, fars: Sequence[float]) -> Beyond:
    """Extrapolate the false accept rate, and measure the true accept rate at the thresholds found."""
    found = tail.extrapolate(fars)
    made = [each.threshold for each in found if each.threshold is not None]
    points = iter(points_at_thresholds(pairs, made))
    return Beyond(tail, tuple((each, None if each.threshold is None else next(points)) for each in found))


def _several(measure: Any, *fars: Sequence[float]) -> list[tuple[OperatingPoint, ...]]:
    """Measure several lists of targets at once."""
    points = measure([far for each in fars for far in each])
    parts = []
    for each in fars:
        parts.append(tuple(points[: len(each)]))
        points = points[len(each) :]
    return parts


def _caption(side: Side, place: int) -> str:
    image = side.images[place]
    return f"{image.identity}: {image.modality}, {image.path.name}"


def _picture(side: Side, place: int) -> bytes:
    rgb = read_rgb(side.images[place].path, side.usual_bits[place] if side.usual_bits else None)
    done, data = cv2.imencode(".png", np.ascontiguousarray(rgb[:, :, ::-1]))
    assert done
    return bytes(data)


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES}
