"""Findings as JSON, as the contract has them."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from facexfer.errors import InputError
from facexfer.eval.identification import Identification
from facexfer.eval.metrics import compute_metrics, numpy_to_json
from facexfer.eval.paired import Difference
from facexfer.eval.report.definitions import all_definitions
from facexfer.eval.report.findings import BeforeAfter, Beyond, Findings, Slice, WithFailures
from facexfer.eval.verification import OperatingPoint


def findings_to_json(findings: Findings) -> dict[str, Any]:
    """Write everything found in the form that other programs rely on.

    Args:
        findings: Of one evaluation.

    Returns:
        The contract's form (see `points_to_json`) with more keys; rates as fractions.
    """
    sign = -1 if findings.distances else 1
    result: dict[str, Any] = {
        **points_to_json(findings.points, sign),
        "comparison": findings.comparison,
        "accept": "distance below threshold" if findings.distances else "score above threshold",
        **compute_metrics(findings.measured),
    }
    if findings.caveats:
        result["caveats"] = list(findings.caveats)
    if findings.failures is not None:
        result["with_failures"] = _failures(findings.failures)
    if findings.identification is not None:
        result["identification"] = _identification(findings.identification)
    if findings.slices:
        result["slices"] = {column: [_slice(each) for each in slices] for column, slices in findings.slices.items()}
    if findings.before is not None:
        result["before_after"] = _before(findings.before)
    if findings.visible is not None:
        result["visible"] = _before(findings.visible)
    if findings.elsewhere:
        result["thresholds_from_elsewhere"] = [
            {"chosen_for_far": far, **_point(point, sign)} for far, point in findings.elsewhere
        ]
    if findings.folds is not None:
        result["folds"] = asdict(findings.folds)
    if findings.beyond is not None:
        result["extrapolated"] = _beyond(findings.beyond)
    return {**result, **findings.facts, "definitions": all_definitions()}


def write_json(findings: Findings) -> str:
    """Write everything found as the text of a JSON file.

    Args:
        findings: Of one evaluation.

    Returns:
        What `findings_to_json` gives, with a line's end at the end.
    """
    return json.dumps(findings_to_json(findings), indent=2, allow_nan=False, default=numpy_to_json) + "\n"


def points_to_json(points: Sequence[OperatingPoint], sign: int = 1) -> dict[str, Any]:
    """Write operating points in the form that other programs rely on.

    Args:
        points: Of one comparison.
        sign: -1 where scores are negated distances: thresholds are written as distances.

    Returns:
        ``{"pairs": {"genuine", "impostor"}, "operating_points": [...]}``, rates as fractions. An unsupported point has
        null metrics and a remark that names the smallest FAR that the data supports.

    Example:
        >>> import numpy as np
        >>> from facexfer.eval.verification import tar_at_far
        >>> points = tar_at_far(np.array([1.0]), np.array([0.0, 0.5]), [0.5, 0.1])
        >>> [row["supported"] for row in points_to_json(points)["operating_points"]]
        [True, False]
    """
    return {
        "pairs": {"genuine": points[0].genuine_pairs, "impostor": points[0].impostor_pairs},
        "operating_points": [_point(point, sign) for point in points],
    }


def read_thresholds(path: Path, distances: bool) -> tuple[tuple[float, float], ...]:
    """Read the thresholds of an evaluation elsewhere.

    Args:
        path: The JSON that it wrote.
        distances: Whether they are to be applied to distances.

    Returns:
        (target FAR, threshold), where it has one.

    Raises:
        InputError: If the file is not an evaluation's, has no threshold, or was scored the other way.
    """
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
        points = figures["operating_points"]
        known = [(float(p["far"]), float(p["threshold"])) for p in points if p["threshold"] is not None]
        theirs = str(figures.get("accept", "")).startswith("distance")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected the JSON of an evaluation, got: {error}; write it with facexfer evaluate --json"
        ) from error
    if any(math.isnan(value) for point in known for value in point):
        raise InputError(
            f"{path}: expected thresholds that are numbers, got NaN; write it with facexfer evaluate --json"
        )
    for far, _ in known:
        if not 0 < far <= 1:
            raise InputError(
                f"{path}: expected FARs above 0 and at most 1, got {far:g}; write it with facexfer evaluate --json"
            )
    if theirs != distances:
        kinds = ("similarities", "distances")
        raise InputError(
            f"{path}: expected thresholds of {kinds[distances]}, got thresholds of {kinds[theirs]}; both sets must be "
            "scored alike"
        )
    if not known:
        raise InputError(f"{path}: expected at least one threshold, got none; all its FARs are unsupported")
    return tuple(known)


def _point(point: OperatingPoint, sign: int = 1) -> dict[str, Any]:
    row: dict[str, Any] = {
        "far": point.far,
        "threshold": None if point.threshold is None else _finite(sign * point.threshold),
        "achieved_far": point.achieved_far,
        "false_accepts": point.false_accepts,
        "tar": point.tar,
        "tar_ci95": _bounds(point.tar_ci95),
        "far_ci95": _bounds(point.far_ci95),
        "tar_ci95_wilson": _bounds(point.tar_ci95_wilson),
        "far_ci95_wilson": _bounds(point.far_ci95_wilson),
        "ci95_method": "wilson" if point.identities is None else "bootstrap over identities",
        "identities": point.identities,
        "supported": point.supported,
        "rule_of_3": point.meets_rule_of_3,
        "rule_of_30": point.meets_rule_of_30,
        "smallest_far": point.smallest_far,
        "reliable_far": point.reliable_far,
    }
    return row | {"remark": point.remark} if point.remark else row


def _finite(threshold: float) -> float:
    """A number that JSON can hold: a target of 1 accepts everybody, whatever the score."""
    return max(-1e300, min(threshold, 1e300))


def _bounds(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _failures(failures: WithFailures) -> dict[str, Any]:
    return {
        "gallery_failures": failures.failures[0],
        "probe_failures": failures.failures[1],
        "pairs": {"genuine": failures.genuine_pairs, "impostor": failures.impostor_pairs},
        "tar": list(failures.tar),
        "achieved_far": list(failures.far),
    }


def _identification(found: Identification) -> dict[str, Any]:
    return {
        "rank1": found.rank1,
        "rank1_ci95": list(found.rank1_ci95),
        "cmc": found.cmc.tolist(),
        "enrolled": found.enrolled,
        "mated_probes": found.mated_probes,
        "open_set": [
            {
                "far": point.far,
                "supported": point.supported,
                "dir": point.tar,
                "dir_ci95": _bounds(point.tar_ci95),
                "threshold": None if point.threshold is None else _finite(point.threshold),
                "achieved_far": point.achieved_far,
                "impostor_probes": point.impostor_pairs,
            }
            for point in found.open_set
        ],
    }


def _beyond(beyond: Beyond) -> dict[str, Any]:
    tail = beyond.tail
    return {
        "measured": False,
        "base": tail.excesses.base,
        "excesses": len(tail.excesses.values),
        "shape": tail.fit.shape,
        "misfit_standard_errors": tail.misfit,
        "points": [
            {
                "far": far.far,
                "times_below_the_pairs": far.factor,
                "threshold": far.threshold,
                "far_ci95": _bounds(far.far_ci95),
                "tar_measured_there": None if point is None else point.tar,
                "tar_ci95": None if point is None else _bounds(point.tar_ci95),
                "refused": far.refusal or None,
            }
            for far, point in beyond.points
        ],
    }


def _slice(part: Slice) -> dict[str, Any]:
    row: dict[str, Any] = {"value": part.value, "images": part.images}
    if not part.points:
        return {**row, "remark": part.remark}
    return {**row, **points_to_json(part.points)}


def _before(both: BeforeAfter) -> dict[str, Any]:
    return {
        "old": [_point(point) for point in both.old],
        "differences": [None if each is None else _difference(each) for each in both.differences],
        "old_gallery_new_probe": [_point(point) for point in both.mixed],
        "old_gallery_new_probe_at_old_thresholds": [_point(point) for point in both.mixed_at_old_thresholds],
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "far": difference.far,
        "old_tar": difference.first,
        "new_tar": difference.second,
        "difference": difference.difference,
        "ci95": list(difference.ci95),
        "p": difference.p_value,
        "more_than_luck": difference.significant,
    }
