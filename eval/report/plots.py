"""The figures of a report as SVG text: ROC, DET, score histogram, CMC."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from facexfer.eval.curves import Curve
from facexfer.eval.identification import Identification
from facexfer.eval.verification import OperatingPoint

_BLUE, _ORANGE, _GREY, _BLACK = "#2f5d8a", "#c8691c", "#8a8a8a", "#1a1a1a"
# Told apart without seeing colours, and in grey print: those of a like lightness differ in their dashes.
_LINES = ((_GREY, "--"), (_ORANGE, "-"), (_BLUE, "-."), (_BLACK, "-"))
_DET_TICKS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5)
_DRAWN = 2000


def draw_roc(curve: Curve, band: Sequence[OperatingPoint]) -> str:
    """Draw TAR over FAR on a logarithmic axis, with the 95 % band by identity.

    Args:
        curve: Over all thresholds.
        band: Operating points over the range of rates.

    Returns:
        SVG text.
    """
    figure, axes = make_axes("FAR", "TAR")
    far, tar = _thinned(curve)
    some = far > 0
    axes.step(far[some], tar[some], where="post", color=_BLUE, linewidth=1.4)
    points = [point for point in band if point.tar_ci95 is not None]
    bounds = np.array([point.tar_ci95 for point in points]).reshape(-1, 2)
    axes.fill_between([point.achieved_far or point.far for point in points], *bounds.T, color=_BLUE, alpha=0.18, lw=0)
    axes.set_xscale("log")
    axes.set_xlim(1 / curve.false_accepts[-1], 1)
    axes.set_ylim(max(0.0, float(np.floor(10 * tar[some].min(initial=1.0)) / 10) - 0.02), 1.005)
    return to_svg(figure)


def draw_rocs(curves: Mapping[str, Curve]) -> str:
    """Draw the TAR of several models over FAR on a logarithmic axis.

    Args:
        curves: By the model's name, in the order of the legend.

    Returns:
        SVG text.
    """
    figure, axes = make_axes("FAR", "TAR")
    lowest = 1.0
    for (name, curve), (colour, dashes) in zip(curves.items(), cycle(_LINES), strict=False):
        far, tar = _thinned(curve)
        some = far > 0
        axes.step(far[some], tar[some], where="post", color=colour, linestyle=dashes, linewidth=1.6, label=name)
        lowest = min(lowest, float(tar[some].min(initial=1.0)))
    axes.set_xscale("log")
    axes.set_xlim(max(1 / curve.false_accepts[-1] for curve in curves.values()), 1)
    axes.set_ylim(max(0.0, np.floor(10 * lowest) / 10 - 0.02), 1.005)
    axes.legend(frameon=False, loc="lower right")
    return to_svg(figure)


def draw_det(curve: Curve, band: Sequence[OperatingPoint]) -> str:
    """Draw the false reject rate over FAR, both on normal-deviate axes (Martin et al., Eurospeech 1997).

    Args:
        curve: Over all thresholds.
        band: Operating points over the range of rates.

    Returns:
        SVG text.
    """
    figure, axes = make_axes("FAR", "false reject rate")
    far, tar = _thinned(curve)
    some = (far > 0) & (far < 1) & (tar > 0) & (tar < 1)
    axes.plot(stats.norm.ppf(far[some]), stats.norm.ppf(1 - tar[some]), color=_BLUE, linewidth=1.4)
    points = [point for point in band if point.tar_ci95 is not None and 0 < (point.achieved_far or 0) < 1]
    if points:
        misses = 1 - np.clip(np.array([point.tar_ci95 for point in points]), 1e-9, 1 - 1e-9)
        places = stats.norm.ppf([point.achieved_far for point in points])
        axes.fill_between(places, *stats.norm.ppf(misses).T, color=_BLUE, alpha=0.18, lw=0)
    low = max(1e-9, 0.5 / curve.false_accepts[-1])
    lowest_miss = max(1e-9, 0.5 / curve.true_accepts[-1])
    for axis, smallest in ((axes.xaxis, low), (axes.yaxis, lowest_miss)):
        ticks = [tick for tick in _DET_TICKS if tick >= smallest]
        axis.set_ticks(stats.norm.ppf(ticks), [f"{tick:g}".replace("e-0", "e-") for tick in ticks], fontsize=8)
    axes.set_xlim(stats.norm.ppf(low), stats.norm.ppf(0.6))
    axes.set_ylim(stats.norm.ppf(lowest_miss), stats.norm.ppf(0.6))
    return to_svg(figure)


def draw_histogram(curve: Curve, points: Sequence[OperatingPoint], distances: bool = False) -> str:
    """Draw how many genuine and impostor pairs have which score, on a logarithmic axis, with the thresholds.

    Args:
        curve: Over all thresholds.
        points: Their thresholds are marked.
        distances: Whether the scores are negated distances.

    Returns:
        SVG text.
    """
    figure, axes = make_axes("distance" if distances else "score", "pairs")
    rising = curve.thresholds[-2::-1]
    edges = np.linspace(rising[0], rising[-1], 101)
    sign = -1 if distances else 1
    for counts, colour, name in (
        (curve.false_accepts, _ORANGE, "impostor"),
        (curve.true_accepts, _BLUE, "genuine"),
    ):
        # Pairs strictly above an edge: the count at the highest threshold that is not above the edge.
        above = counts[:-1][::-1][np.maximum(np.searchsorted(rising, edges, side="right") - 1, 0)]
        above = np.concatenate([[counts[-1]], above[1:]])
        axes.stairs(above[:-1] - above[1:], sign * edges, color=colour, label=name, fill=True, alpha=0.45, linewidth=0)
    for point in points:
        if point.threshold is not None and np.isfinite(point.threshold):
            axes.axvline(sign * point.threshold, color=_GREY, linewidth=0.8, linestyle="--")
            axes.text(
                sign * point.threshold, 0.98, f" {point.far:g}", rotation=90, va="top", fontsize=8, color="#555",
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.legend(frameon=False, loc="upper right")
    return to_svg(figure)


def draw_cmc(found: Identification) -> str:
    """Draw how often the right person is among the first entries.

    Args:
        found: The figures of a search.

    Returns:
        SVG text.
    """
    figure, axes = make_axes("rank", "identified within")
    axes.plot(np.arange(1, len(found.cmc) + 1), found.cmc, color=_BLUE, marker=".", linewidth=1.2)
    axes.set_ylim(max(0.0, float(found.cmc[0]) - 0.05), 1.005)
    return to_svg(figure)


def make_axes(x: str, y: str) -> tuple[Figure, Axes]:
    """Make a figure of the report's size and style, with the two axes' names."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def to_svg(figure: Figure) -> str:
    """A figure as SVG text; the same figure yields the same text."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "facexfer", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _thinned(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Keep as many points as can be seen: those at every rate of false accepts on a logarithmic grid, and the ends."""
    counts = np.unique(np.geomspace(1, curve.false_accepts[-1], _DRAWN).astype(np.int64))
    places = np.searchsorted(curve.false_accepts, counts, side="left")
    before = np.maximum(places - 1, 0)
    chosen = np.unique(np.concatenate([[0], before, places, [len(curve.thresholds) - 1]]))
    return curve.far[chosen], curve.tar[chosen]
