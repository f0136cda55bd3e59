"""The score summary of a bundle, ``scores`` in ``model.json``: what `facexfer monitor` holds a device's log against."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from facexfer.deploy.contract import SAME_SCORE, Contract
from facexfer.deploy.contract_form import problem_of_summary
from facexfer.deploy.runtime_files import scores_of, thresholds_of
from facexfer.errors import InputError
from facexfer.eval.accepted import accepted_scores
from facexfer.eval.curves import Curve
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.shift import AcceptedScores
from facexfer.eval.verification import OperatingPoint

_ARRAYS = ("scores", "above", "covariance")
_NAMES = tuple(field.name for field in fields(AcceptedScores))
_AGAIN = "copy the bundle again or export its run again"


def summary_of(pairs: PairSet, curve: Curve, points: Sequence[OperatingPoint]) -> dict[str, Any]:
    """Summarise the scores of an evaluation for a bundle.

    Args:
        pairs: What was compared.
        curve: Of these.
        points: Of these.

    Returns:
        For each supported operating point below FAR 1 the rates and the distribution of the accepted genuine scores,
        with covariances by identity: no score of a single pair, and nothing of a person.
    """
    summaries = []
    for point in points:
        if point.supported and point.far < 1:
            known = asdict(accepted_scores(pairs, curve, point))
            summaries.append({"far": point.far, **known, **{name: known[name].tolist() for name in _ARRAYS}})
    return {"points": summaries}


def measured_scores(contract: Contract, far: float | None, runtime: str | None = None) -> tuple[float, AcceptedScores]:
    """Read the summary at a threshold of a bundle.

    Args:
        contract: Of the bundle.
        far: The target whose threshold the device uses; None takes the bundle's own operating point.
        runtime: Take the threshold and the summary of the bundle's file for this runtime; None takes those of
            ``model.onnx``.

    Returns:
        The target and the summary.

    Raises:
        InputError: If the bundle was exported before there was a summary, has no threshold for the target or no file
            for the runtime, or the summary is damaged or of another threshold than the bundle's.
    """
    folder = contract.folder
    if contract.content.get("scores") is None:
        raise InputError(
            f"{folder}: expected a bundle with a summary of its scores, this bundle comes from an older version and "
            "has none; export its run again (facexfer export RUN --out NEW), which measures the same"
        )
    far = contract.far if far is None else far
    summary, is_own = scores_of(contract, runtime)
    if problem := problem_of_summary(summary):
        raise InputError(f"{folder}: expected a summary of scores, got a damaged one: scores.{problem}; {_AGAIN}")
    points = {point["far"]: point for point in summary["points"] if point["far"] < 1}
    if far is None or far not in points:
        known = ", ".join(f"{each:g}" for each in points) or "none"
        wanted = "none" if far is None else f"{far:g}"
        raise InputError(f"{folder}: expected a FAR that the bundle has a threshold for ({known}), got {wanted}")
    values = {name: points[far][name] for name in _NAMES}
    arrays = {name: np.array(values[name], dtype=np.float64) for name in _ARRAYS}
    low, high = values["genuine_ci95"]
    measured = AcceptedScores(**{**values, **arrays, "genuine_ci95": (low, high)})
    threshold = thresholds_of(contract, runtime).get(far, measured.threshold)
    if is_own and abs(threshold - measured.threshold) > SAME_SCORE:
        raise InputError(
            f"{folder}: expected a summary of scores at the threshold {threshold:.7g} of FAR {far:g}, got one at "
            f"{measured.threshold:.7g}; {_AGAIN}"
        )
    return far, replace(measured, threshold=threshold)
