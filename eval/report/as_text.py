"""Findings as text: a table of operating points, and a line for every other finding."""

import io

from rich.console import Console
from rich.table import Table

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
    return "\n".join([head, *_table(findings), *remarks, metrics, *_lines(findings)])


def _table(findings: Findings) -> list[str]:
    points = findings.points
    interval = "(by pair)" if points[0].identities is None else "(by identity)"
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
            ""
            if point.far_ci95 is None
            else " to ".join(f"{bound:.1e}".replace("e-0", "e-") for bound in point.far_ci95),
        )
    text = io.StringIO()
    Console(file=text, width=_WIDE, color_system=None).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def _lines(findings: Findings) -> list[str]:
    lines = []
    if findings.identification is not None:
        found = findings.identification
        low, high = found.rank1_ci95
        lines.append(
            f"rank 1: {100 * found.rank1:.2f} % ({100 * low:.2f} to {100 * high:.2f} %) of {found.mated_probes:,} "
            f"probes among {found.enrolled:,} people"
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
                    f"new minus old{name} at FAR {each.far:g}: {100 * each.difference:+.2f} points "
                    f"({100 * each.ci95[0]:+.2f} to {100 * each.ci95[1]:+.2f}), {verdict}"
                )
    for target, point in findings.elsewhere:
        lines.append(
            f"the threshold chosen elsewhere for FAR {target:g}: here FAR {point.achieved_far:.3g}, "
            f"TAR {100 * (point.tar or 0):.2f} %"
        )
    beyond = [] if findings.beyond is None else beyond_lines(findings.beyond)
    return [*lines, *beyond, *findings.notes]


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{100 * bounds[0]:.1f}-{100 * bounds[1]:.1f}"
