"""The form of ``model.json``: what must hold of its values, so that a damaged file is one line that names the key."""

import json
import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SAME_SCORE = 1e-6
"""How far apart two ways of working out one score may be: cosines of float32 embeddings, by another order of additions
or another number of images at a time. A bundle's README rounds its threshold up by no more."""
_LONGEST = 60

Fraction = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    """A part of the file; older versions have fewer keys, newer ones more."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Point(_Part):
    far: Fraction
    supported: bool
    threshold: float | None
    tar: Fraction | None
    remark: str = ""


class _Evaluation(_Part):
    operating_points: list[_Point]
    data: str = ""


class _OperatingPoint(_Part):
    far: Fraction | None
    threshold: float | None = None


class _File(_Part):
    name: str
    sha256: str | None = None


class _Threshold(_Part):
    far: Fraction
    threshold: Finite


class _Input(_Part):
    batch: int | str


class _Tolerance(_Part):
    difference: float
    loss: float


class _Compared(_Part):
    far: Fraction
    second: Fraction


class _Gate(_Part):
    tolerance: _Tolerance
    differences: list[_Compared | None]


class _Runtime(_Part):
    runtime: str
    precision: str
    files: Annotated[list[_File], Field(min_length=1)]
    input: _Input
    gate: _Gate | None
    thresholds: list[_Threshold] = []
    scores: dict[str, Any] | None = None


class _Inside(_Part):
    flip: bool = False


class _Preprocessing(_Part):
    inside: _Inside = _Inside()


class _Shape(_Part):
    shape: Annotated[list[int | str], Field(min_length=4, max_length=4)]


class _Gallery(_Part):
    sha256: str | None = None


class _Pairs(_Part):
    gallery: str | None = None
    probe: str | None = None


class _Source(_Part):
    backbone: str


class _Recipe(_Part):
    source: _Source


class _Content(_Part):
    evaluation: _Evaluation
    operating_point: _OperatingPoint
    sha256: str | None = None
    precision: str = ""
    embedding_size: int = 0
    input: _Shape | None = None
    preprocessing: _Preprocessing = _Preprocessing()
    gate: Annotated[list[_Gate], Field(min_length=1)] | None = None
    recipe: _Recipe | None = None
    detector: str | None = None
    gallery: _Gallery | None = None
    pairs: _Pairs | None = None
    scores: dict[str, Any] | None = None
    runtimes: list[_Runtime] = []


class _Summary(_Part):
    far: Fraction
    threshold: Finite
    genuine_rate: Fraction
    genuine_ci95: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    impostor_rate: Fraction
    scores: Annotated[list[Finite], Field(min_length=1)]
    above: list[Fraction]
    covariance: list[list[Finite]]
    identities: Annotated[int, Field(ge=0)]


class _Summaries(_Part):
    points: list[_Summary]


def problem_of(content: Any) -> str:
    """Find what is wrong with a bundle's contract.

    Args:
        content: As in ``model.json``.

    Returns:
        The key, what was expected and what came; empty where it is in order.
    """
    try:
        read = _Content.model_validate(content)
    except ValidationError as error:
        return _first_problem(error)
    points = read.evaluation.operating_points
    for place, point in enumerate(points):
        key = f"evaluation.operating_points[{place}]"
        if point.supported and (point.threshold is None or point.tar is None):
            missing = "threshold" if point.threshold is None else "tar"
            return f"{key}.{missing}: expected a number at a supported FAR, got null"
        if point.supported and point.far < 1 and point.threshold is not None and not is_cosine(point.threshold):
            return f"{key}.threshold: expected a cosine similarity from -1 to 1, got {point.threshold:g}"
    if read.runtimes and read.input is None:
        return "input: expected a value, got none"
    for place, runtime in enumerate(read.runtimes):
        for number, own in enumerate(runtime.thresholds):
            if not is_cosine(own.threshold):
                key = f"runtimes[{place}].thresholds[{number}].threshold"
                return f"{key}: expected a cosine similarity from -1 to 1, got {own.threshold:g}"
    return _problem_of_point(read.operating_point, points)


def problem_of_summary(summary: Any) -> str:
    """Find what is wrong with a summary of scores.

    Args:
        summary: As ``scores`` in ``model.json``, or in the entry of a runtime.

    Returns:
        The key below it, what was expected and what came; empty where it is in order.
    """
    try:
        read = _Summaries.model_validate(summary)
    except ValidationError as error:
        return _first_problem(error)
    for place, point in enumerate(read.points):
        count = len(point.scores)
        if len(point.above) != count:
            return f"points[{place}].above: expected {count} shares, one for each of the scores, got {len(point.above)}"
        if [len(row) for row in point.covariance] != [count] * count:
            rows = len(point.covariance)
            return f"points[{place}].covariance: expected {count} rows of {count} numbers, got {rows} rows of others"
        if point.scores != sorted(point.scores):
            return f"points[{place}].scores: expected rising scores, got others"
    return ""


def is_cosine(threshold: float) -> bool:
    """Whether a threshold can be that of a cosine similarity, as float32 works it out."""
    return abs(threshold) <= 1 + SAME_SCORE


def _problem_of_point(chosen: _OperatingPoint, points: list[_Point]) -> str:
    """The bundle's own operating point is one of those that were measured, and its threshold is that one's."""
    if chosen.far is None:
        return ""
    known = {point.far: point.threshold for point in points if point.supported and point.far < 1}
    if chosen.far not in known:
        fars = ", ".join(f"{far:g}" for far in known) or "none"
        return (
            f"operating_point.far: expected a supported FAR of evaluation.operating_points ({fars}), got {chosen.far:g}"
        )
    measured = known[chosen.far]
    assert measured is not None
    if chosen.threshold is None or not math.isclose(chosen.threshold, measured, rel_tol=0, abs_tol=SAME_SCORE):
        got = "null" if chosen.threshold is None else f"{chosen.threshold:.7g}"
        return (
            f"operating_point.threshold: expected {measured:.7g}, the threshold of FAR {chosen.far:g} in "
            f"evaluation.operating_points, got {got}"
        )
    return ""


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    key = ""
    for part in problem["loc"]:
        if part in ("int", "str"):
            break  # the forms that a value may have
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    if problem["type"] == "missing":
        return f"{key}: expected a value, got none"
    expected = problem["msg"].replace("Input should be", "expected", 1)
    if problem["type"] in ("model_type", "dict_type"):
        expected = "expected an object"
    try:
        got = json.dumps(problem["input"])
    except ValueError:
        got = str(problem["input"])
    return f"{key or 'the file'}: {expected}, got {got if len(got) <= _LONGEST else got[: _LONGEST - 3] + '...'}"
