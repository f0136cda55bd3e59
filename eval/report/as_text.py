"""Findings as text: tables of operating points, of the whole and of its parts, and a line for every other finding."""

import io

from rich.console import Console
from rich.table import Table
from rich.text import Text

from facexfer.eval.metrics import show_metrics
from facexfer.eval.report.beyond import beyond_lines
from facexfer.eval.report.findings import Findings

# Wider than any table: a narrow terminal breaks lines itself.
_WIDE = 1000


def findings_to_text(findings: Findings) -> str:
    """Write the table of operating points, and a line for every other finding.

    Args:
        findings: Of one evaluation.

    Returns:
        Lines without a line's end at the end: rates of the table in percent, FARs as fractions.
    """
    points = findings.points
    head = f"{points[0].genuine_pairs:,} genuine and {points[0].impostor_pairs:,} impostor pairs"
    remarks = [point.remark for point in points if point.remark]
    metrics = "; ".join(show_metrics(findings.measured))
    parts = [line for column in findings.slices for line in _by_column(findings, column)]
    return "\n".join([*findings.caveats, head, *_table(findings), *remarks, metrics, *_lines(findings), *parts])


def _table(findings: Findings) -> list[str]:
    points = findings.points
    interval = "(by identity)" if findings.identities is not None else "(by pair)"
    table = Table(box=None, pad_edge=False)
    for name in (
        "FAR",
        "TAR, %",
        f"95 % CI\n{interval}",
        "95 % CI\n(Wilson)",
        "threshold",
        "achieved\nFAR",
        f"95 % CI\n{interval}",
    ):
        table.add_column(name, no_wrap=True, justify="left" if name == "FAR" else "right")
    sign = -1 if findings.distances else 1
    for point in points:
        if point.threshold is None or point.tar is None:
            table.add_row(f"{point.far:g}", "-")
            continue
        table.add_row(
            f"{point.far:g}",
            f"{100 * point.tar:.2f}",
            _interval(point.tar_ci95),
            _interval(point.tar_ci95_wilson),
            f"{sign * point.threshold:.4f}",
            f"{point.achieved_far:.3g}",
            _bounds(point.far_ci95),
        )
    return _drawn(table)


def _by_column(findings: Findings, column: str) -> list[str]:
    targets = [f"{point.far:g}" for point in findings.points if point.threshold is not None]
    table = Table(box=None, pad_edge=False)
    table.add_column(Text(column))
    for name in ("images", "threshold\nfor FAR", "TAR, %", "95 % CI\n(by identity)", "FAR", "95 % CI\n(by identity)"):
        table.add_column(name, no_wrap=True, justify="right")
    remarks = []
    for part in findings.slices[column]:
        if part.remark:
            remarks.append(f"{column} {part.value}: {part.remark}")
        for target, point in zip(targets, part.points, strict=bool(part.points)):
            tar = "-" if point.tar is None else f"{100 * point.tar:.2f}"
            far = "-" if point.achieved_far is None else f"{point.achieved_far:.3g}"
            row = (target, tar, _interval(point.tar_ci95), far, _bounds(point.far_ci95))
            table.add_row(Text(part.value), f"{part.images:,}", *row)
    return [f"by {column}, at the thresholds above:", *_drawn(table), *remarks]


def _drawn(table: Table) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=_WIDE, color_system=None).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def _lines(findings: Findings) -> list[str]:
    lines = []
    if findings.identification is not None:
        found = findings.identification
        low, high = found.rank1_ci95
        lost = 0 if findings.failures is None else findings.failures.failures[1]
        lines.append(
            f"rank 1: {100 * found.rank1:.2f} % ({100 * low:.2f} to {100 * high:.2f} %) of {found.mated_probes:,} "
            f"probes among {found.enrolled:,} people" + (f"; {lost:,} failed photos are not counted" if lost else "")
        )
    if findings.folds is not None:
        lines.append(
            f"{len(findings.folds.folds)}-fold accuracy: {100 * findings.folds.mean:.2f} "
            f"+- {100 * findings.folds.standard_error:.2f} %"
        )
    if findings.failures is not None:
        rates = ", ".join("-" if tar is None else f"{100 * tar:.2f} %" for tar in findings.failures.tar)
        lines.append(f"TAR with {sum(findings.failures.failures):,} failed photos as rejects: {rates}")
    for name, both in (("", findings.before), (" within vis", findings.visible)):
        for each in both.differences if both is not None else ():
            if each is not None:
                verdict = "significant" if each.significant else "not significant"
                lines.append(
                    f"new minus old{name} at FAR {each.far:g}: {100 * each.difference:+z.2f} points "
                    f"({100 * each.ci95[0]:+z.2f} to {100 * each.ci95[1]:+z.2f}), {verdict}"
                )
    for target, point in findings.elsewhere:
        lines.append(
            f"the threshold chosen elsewhere for FAR {target:g}: here FAR {point.achieved_far:.3g}, "
            f"TAR {100 * (point.tar or 0):.2f} %"
        )
    beyond = [] if findings.beyond is None else beyond_lines(findings.beyond)
    return [*lines, *beyond, *findings.notes]


def _bounds(rates: tuple[float, float] | None) -> str:
    return "" if rates is None else " to ".join(f"{bound:.1e}".replace("e-0", "e-") for bound in rates)


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{100 * bounds[0]:.1f}-{100 * bounds[1]:.1f}"
