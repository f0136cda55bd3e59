"""Operating points as JSON, as the contract has them."""

from collections.abc import Sequence
from typing import Any

from facexfer.eval.verification import OperatingPoint


def points_to_json(points: Sequence[OperatingPoint]) -> dict[str, Any]:
    """Write operating points in the form that other programs rely on.

    Args:
        points: Of one comparison.

    Returns:
        ``{"pairs": {"genuine", "impostor"}, "operating_points": [...]}``, rates as fractions. An unsupported point has
        null figures and a remark that names the smallest FAR that the data supports.

    Example:
        >>> import numpy as np
        >>> from facexfer.eval.verification import tar_at_far
        >>> points = tar_at_far(np.array([1.0]), np.array([0.0, 0.5]), [0.5, 0.1])
        >>> [row["supported"] for row in points_to_json(points)["operating_points"]]
        [True, False]
    """
    return {
        "pairs": {"genuine": points[0].genuine_pairs, "impostor": points[0].impostor_pairs},
        "operating_points": [_point_to_json(point) for point in points],
    }


def _point_to_json(point: OperatingPoint) -> dict[str, Any]:
    row: dict[str, Any] = {
        "far": point.far,
        "threshold": point.threshold,
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


def _bounds(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
