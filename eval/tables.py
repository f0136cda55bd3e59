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
        "tar": point.tar,
        "tar_ci95": list(point.tar_ci95) if point.tar_ci95 else None,
        "supported": point.supported,
    }
    if not point.supported:
        row |= {"smallest_far": point.smallest_far, "remark": point.remark}
    return row
