"""What learning curves say: the fitted law with its interval, what doubling would gain, and the plot."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from facexfer.comparison.learning_curve import CurvePoint, columns_of
from facexfer.errors import InputError
from facexfer.eval.power_law import PowerLaw, bootstrap_laws, fit_power_law
from facexfer.eval.report.plots import make_axes

_LAWS = 200


def describe_curve(points: Sequence[CurvePoint], worth: float) -> dict[str, Any]:
    """Fit the law to a method's runs and predict from the largest part.

    Args:
        points: Of one method.
        worth: What doubling must gain to pay, a fraction.

    Returns:
        For JSON: ``points``, ``law``; ``gain_of_people`` and ``gain_of_images`` (doubling, None where images were not
        varied), each with an interval at 95 %; ``people_until``, None if it never stops paying; ``backtest``.

    Raises:
        InputError: If there are too few runs or sizes.
    """
    people, images, errors = columns_of(points)
    law, laws = fit_power_law(people, images, errors), bootstrap_laws(people, images, errors, _LAWS, 0)
    whole = max((point.people, point.images) for point in points)
    varied = len(np.unique(images)) > 1
    until = law.people_until(worth, whole[1])
    return {
        "points": [asdict(point) for point in points],
        "law": asdict(law),
        "whole": whole,
        "gain_of_people": _with_interval(law, laws, lambda each: each.gain_of_people(*whole)),
        "gain_of_images": _with_interval(law, laws, lambda each: each.gain_of_images(*whole)) if varied else None,
        "worth": worth,
        "people_until": None if math.isinf(until) else math.ceil(until),
        "backtest": _backtest(points, whole),
    }


def sentence(method: str, found: Mapping[str, Any]) -> str:
    """One plain sentence on what more data would bring.

    Args:
        method: Its name.
        found: Of `describe_curve`.

    Returns:
        The sentence.
    """
    people, images = found["whole"]
    gain = found["gain_of_people"]
    text = f"{method}: from {people:,} people, twice as many are predicted to gain {_points(gain)}"
    if found["gain_of_images"] is not None:
        text += f", twice the images of each ({images:.1f} now) {_points(found['gain_of_images'])}"
    until, worth = found["people_until"], 100 * found["worth"]
    if until is None:
        return f"{text}; doubling people keeps gaining {worth:g} points."
    if until <= people:
        return f"{text}; doubling people already gains less than {worth:g} points."
    return f"{text}; from about {until:,} people on, doubling them gains less than {worth:g} points."


def draw_learning_curves(found: Mapping[str, Mapping[str, Any]], figure: str) -> Figure:
    """Draw the errors over people with the fitted laws, to four times the largest part.

    Args:
        found: `describe_curve` of each method.
        figure: The metric's name.

    Returns:
        The figure.
    """
    drawing, axes = make_axes("people trained on", f"1 - {figure}, %")
    for number, (method, each) in enumerate(found.items()):
        most, images = each["whole"]
        some = [point for point in each["points"] if point["images"] == images or point["people"] < most]
        axes.plot([p["people"] for p in some], [100 * p["error"] for p in some], f"C{number}o", markersize=4)
        people = np.geomspace(min(p["people"] for p in some), 4 * most, 100)
        law = PowerLaw(**each["law"])
        axes.plot(people, [100 * law.error(n, images) for n in people], f"C{number}-", linewidth=1.4, label=method)
    axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    return drawing


def _with_interval(law: PowerLaw, laws: Sequence[PowerLaw], gain: Any) -> dict[str, float]:
    low, high = np.quantile([gain(each) for each in laws], (0.025, 0.975))
    return {"gain": gain(law), "low": float(low), "high": float(high)}


def _backtest(points: Sequence[CurvePoint], whole: tuple[int, float]) -> dict[str, float] | None:
    """Predict the largest part from those of at most half its people; None where they are too few."""
    smaller = [point for point in points if point.people <= 0.51 * whole[0]]
    people, images, errors = columns_of(smaller)
    try:
        predicted = fit_power_law(people, images, errors).error(*whole)
        laws = bootstrap_laws(people, images, errors, _LAWS, 0)
    except InputError:
        return None
    low, high = np.quantile([law.error(*whole) for law in laws], (0.025, 0.975))
    measured = float(np.mean([point.error for point in points if (point.people, point.images) == whole]))
    return {"predicted": predicted, "low": float(low), "high": float(high), "measured": measured}


def _points(gain: Mapping[str, float]) -> str:
    low, high = 100 * gain["low"], 100 * gain["high"]
    return f"{100 * gain['gain']:.1f} points (95 % CI {low:.1f} to {high:.1f})"
