"""Numbers that sum up a verification besides its operating points; a new one is one entry here, or one in a plugin."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from facexfer.errors import InputError
from facexfer.eval.curves import Bounded, Curve, area_under_roc, equal_error_rate
from facexfer.eval.verification import OperatingPoint
from facexfer.registry import Registry


@dataclass(frozen=True)
class Measured:
    """What a metric is computed from.

    Attributes:
        curve: Of all genuine and impostor pairs.
        points: The operating points asked for.
        standard: The operating points at FAR 1e-2, 1e-3 and 1e-4.
    """

    curve: Curve
    points: tuple[OperatingPoint, ...]
    standard: tuple[OperatingPoint, ...]


@dataclass(frozen=True)
class Metric:
    """A number (or what JSON has for several) by its name.

    Attributes:
        compute: Gives the value; None where the data does not support it.
        show: Gives the words for the table and the page, of the name's value.
        definition: What it means, in one sentence or two.
        term: What the definition is called; the metric's name if it is empty.
    """

    compute: Callable[[Measured], Any]
    show: Callable[[Any], str]
    definition: str
    term: str = ""


METRICS: Registry[Metric] = Registry("metric", "metrics")
"""Name in the JSON -> the metric; all of them are in every report, table and JSON of an evaluation."""


def compute_metrics(measured: Measured) -> dict[str, Any]:
    """Compute every metric.

    Args:
        measured: Of one evaluation.

    Returns:
        Name -> value, as JSON has it.

    Raises:
        InputError: If a metric's value is none that JSON can hold.
    """
    return {name: _as_json(name, metric.compute(measured)) for name, metric in METRICS.items()}


def show_metrics(measured: Measured) -> list[str]:
    """The labels of all metrics, in their order."""
    return [metric.show(metric.compute(measured)) for metric in METRICS.values()]


def metric_definitions() -> dict[str, str]:
    """What each metric means."""
    return {metric.term or name: metric.definition for name, metric in METRICS.items()}


def numpy_to_json(value: Any) -> Any:
    """What `json.dumps` writes for a number or an array of numpy: its ``default``."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__}")


def _as_json(name: str, value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=numpy_to_json))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"metric '{name}': expected a value that JSON can hold, got {error}; return finite numbers, text, lists, "
            "dicts or None"
        ) from error


def _bounded(measure: Callable[[Curve], Bounded], measured: Measured) -> dict[str, float]:
    return asdict(measure(measured.curve))


def _false_rejects(place: int, measured: Measured) -> float | None:
    tar = measured.standard[place].tar
    return None if tar is None else 1 - tar


def _show_area(area: dict[str, float]) -> str:
    return f"AUC {area['value']:.6f}" + (f" (± {area['error']:.1g}, binned)" if area["error"] else "")


def _show_false_rejects(name: str, rate: float | None) -> str:
    return f"{name} {'unsupported' if rate is None else f'{100 * rate:.2f} %'}"


_AREA = (
    "EER: where FAR equals the false reject rate, on the line between two thresholds. AUC: how likely a "
    "genuine pair scores above an impostor pair, ties counting half."
)
METRICS.add("auc", Metric(partial(_bounded, area_under_roc), _show_area, _AREA, "EER, AUC"))
METRICS.add(
    "eer",
    Metric(partial(_bounded, equal_error_rate), lambda equal: f"EER {100 * equal['value']:.3f} %", _AREA, "EER, AUC"),
)
for _place, _name in enumerate(("FMR100", "FMR1000", "FMR10000")):
    METRICS.add(
        _name.lower(),
        Metric(
            partial(_false_rejects, _place), partial(_show_false_rejects, _name),
            "The false reject rate at FAR 1/100; FMR1000 and FMR10000 likewise.", "FMR100",
        ),
    )  # fmt: skip
