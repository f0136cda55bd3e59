"""What was extrapolated below the measured rates: kept apart from them everywhere, in words, table and plots."""

import numpy as np

from facexfer.eval.curves import Curve
from facexfer.eval.report.findings import Beyond
from facexfer.eval.report.page import Part, Plots, Table, interval, percent
from facexfer.eval.report.plots import make_axes, to_svg

_MEASURED, _EXTRAPOLATED = "#2f5d8a", "#c8691c"
_STEPS = 12


def beyond_lines(beyond: Beyond) -> list[str]:
    """One line per target, for the text output."""
    lines = [f"extrapolated from the {len(beyond.tail.excesses.values):,} highest impostor scores, not measured:"]
    for far, point in beyond.points:
        if far.threshold is None or far.far_ci95 is None:
            lines.append(f"  FAR {far.far:g}: refused, {far.refusal}")
            continue
        low, high = far.far_ci95
        tar = "" if point is None or point.tar is None else f"; TAR {100 * point.tar:.2f} %"
        lines.append(
            f"  FAR {far.far:g} (95 % CI {low:.1e} to {high:.1e}), {far.factor:.1f} times below the pairs: threshold "
            f"{far.threshold:.4f}{tar}"
        )
    return lines


def beyond_parts(beyond: Beyond, curve: Curve) -> list[Part]:
    """The section of the report."""
    rows: list[list[str | tuple[str]]] = []
    for far, point in beyond.points:
        bounds = "" if far.far_ci95 is None else f"{far.far_ci95[0]:.2g} to {far.far_ci95[1]:.2g}"
        threshold = "" if far.threshold is None else f"{far.threshold:.4f}"
        tar, tar_bounds = (None, None) if point is None else (point.tar, point.tar_ci95)
        rows.append(
            [
                (f"{far.far:g}, extrapolated",), f"{far.factor:.1f}", threshold, bounds, percent(tar),
                interval(tar_bounds), far.refusal,
            ]
        )  # fmt: skip
    head = [
        "FAR", "times below the pairs", "threshold", "95 % CI of FAR there", "TAR there, measured", "95 % CI",
        "refused",
    ]  # fmt: skip
    drawn = [(_draw_tail(beyond, curve), "Solid: measured. Dashed and crosses: extrapolated, with the 95 % CI of FAR")]
    if any(far.threshold is not None for far, _ in beyond.points):
        drawn.append((_draw_stability(beyond), "Extrapolated thresholds by where the tail begins: level where it fits"))
    return [
        "None of these rates was measured: they follow from the shape of the impostor tail.", Table(head, rows),
        Plots(drawn),
    ]  # fmt: skip


def _draw_tail(beyond: Beyond, curve: Curve) -> str:
    figure, axes = make_axes("score", "FAR")
    tail = beyond.tail
    base = tail.excesses.base
    is_tail = (curve.thresholds >= base) & (curve.far > 0) & np.isfinite(curve.thresholds)
    axes.plot(curve.thresholds[is_tail], curve.far[is_tail], color=_MEASURED, linewidth=1.4)
    lowest = min(far.far for far, _ in beyond.points)
    made = [far for far, _ in beyond.points if far.threshold is not None]
    end = max([float(curve.thresholds[is_tail].max(initial=base)), *(far.threshold or base for far in made)])
    places = np.linspace(base, end, 200)[1:]
    axes.plot(places, [tail.far(float(place)) for place in places], color=_EXTRAPOLATED, linestyle="--", linewidth=1.2)
    for far in made:
        assert far.threshold is not None
        assert far.far_ci95 is not None
        axes.plot([far.threshold], [far.far], color=_EXTRAPOLATED, marker="x")
        axes.plot([far.threshold] * 2, far.far_ci95, color=_EXTRAPOLATED, linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(bottom=lowest / 100)
    return to_svg(figure)


def _draw_stability(beyond: Beyond) -> str:
    figure, axes = make_axes("score where the tail begins", "extrapolated threshold")
    counts = np.unique(np.geomspace(100, len(beyond.tail.excesses.values), _STEPS).astype(int))
    fits = [beyond.tail.narrowed(int(count)) for count in counts]
    for far, _ in beyond.points:
        if far.threshold is not None:
            starts = [fit.excesses.base for fit in fits]
            found = [fit.threshold(far.far) for fit in fits]
            axes.plot(starts, found, color=_EXTRAPOLATED, marker=".", linestyle="--", linewidth=0.8)
            axes.text(starts[0], found[0], f" {far.far:g}", fontsize=8, color="#555")
    return to_svg(figure)
