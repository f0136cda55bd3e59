"""A self-contained page of everything that was found: no script, no font, no image from anywhere else."""

from collections.abc import Sequence
from pathlib import Path

from facexfer.eval.identification import Identification
from facexfer.eval.metrics import show_metrics
from facexfer.eval.report.as_json import write_json
from facexfer.eval.report.beyond import beyond_parts
from facexfer.eval.report.definitions import all_definitions
from facexfer.eval.report.findings import BeforeAfter, Findings, Slice, WithFailures
from facexfer.eval.report.page import (
    Facts,
    Pairs,
    Part,
    Plots,
    Section,
    ShownPair,
    Table,
    interval,
    make_html,
    percent,
    write_pages,
)
from facexfer.eval.report.plots import draw_cmc, draw_det, draw_histogram, draw_roc
from facexfer.eval.verification import OperatingPoint


def write_report(folder: Path, findings: Findings, shown: Sequence[ShownPair] = ()) -> None:
    """Write ``report.html`` and ``report.json`` into a folder, atomically.

    Args:
        folder: Made if it is not there; other files in it stay.
        findings: What to report.
        shown: The worst pairs.

    Raises:
        InputError: If the folder cannot be made or written.
    """
    page = make_page(findings, shown)
    write_pages(folder, {"report.html": page, "report.json": write_json(findings)})


def make_page(findings: Findings, shown: Sequence[ShownPair] = ()) -> str:
    """Make the page.

    Args:
        findings: What to report.
        shown: The worst pairs.

    Returns:
        HTML text.
    """
    first = findings.points[0]
    lead = (
        f"{first.genuine_pairs:,} genuine and {first.impostor_pairs:,} impostor pairs"
        + (f" of {findings.identities:,} identities with genuine pairs" if findings.identities else "")
        + f"; {'distances' if findings.distances else 'cosine similarities'}."
    )
    points: list[Part] = [_points(findings), _summary(findings)]
    sections: list[Section] = [
        *([("Read this first", list(findings.caveats))] if findings.caveats else []),
        ("True accept rate at false accept rates", points),
        ("Curves", [_plots(findings)]),
    ]
    if findings.notes:
        sections.append(("Recommended", list(findings.notes)))
    if findings.beyond is not None:
        sections.append(("Beyond the pairs: extrapolated", beyond_parts(findings.beyond, findings.curve)))
    if findings.identification is not None:
        sections.append(("Identification", _identification(findings.identification, findings.failures)))
    if findings.failures is not None:
        sections.append(("Failures to acquire", _failures(findings.points, findings.failures)))
    if findings.before is not None:
        sections.append(("Before and after", _before(findings.before, findings.points)))
    if findings.visible is not None:
        sections.append(("What it cost in visible light", [_differences(findings.visible)]))
    if findings.elsewhere:
        sections.append(("Thresholds chosen elsewhere, applied here", [_elsewhere(findings)]))
    sections += [(f"By {column}", [_slices(slices)]) for column, slices in findings.slices.items()]
    if shown:
        sections.append(("The worst pairs", [Pairs(shown)]))
    sections += [("What was measured", [Facts(findings.facts)]), ("Definitions", [Facts(all_definitions())])]
    return make_html(f"Face verification: {findings.comparison}", lead, sections)


def _plots(findings: Findings) -> Plots:
    of = "Wilson" if findings.identities is None else "by identity"
    drawn = [
        (draw_roc(findings.curve, findings.band), f"ROC; the band is the 95 % CI of TAR ({of})"),
        (draw_det(findings.curve, findings.band), "DET on normal-deviate axes, with the same band"),
        (
            draw_histogram(findings.curve, findings.points, findings.distances),
            "Scores of all pairs; dashed: the thresholds for the FARs of the table",
        ),
    ]
    if findings.identification is not None:
        drawn.append((draw_cmc(findings.identification), "CMC: the right person within the first entries"))
    return Plots(drawn)


def _points(findings: Findings) -> Table:
    rows = [
        [
            f"{point.far:g}", percent(point.tar), interval(point.tar_ci95), interval(point.tar_ci95_wilson),
            _number(point.threshold, -1 if findings.distances else 1), _rate(point.achieved_far),
            _rates(point.far_ci95), _rates(point.far_ci95_wilson),
        ]
        for point in findings.points
    ]  # fmt: skip
    of = "(by pair)" if findings.identities is None else "(by identity)"
    head = [
        "FAR",
        "TAR",
        f"95 % CI {of}",
        "95 % CI (Wilson)",
        "threshold",
        "achieved FAR",
        f"95 % CI {of}",
        "95 % CI (Wilson)",
    ]
    return Table(head, rows, [point.remark for point in findings.points])


def _summary(findings: Findings) -> str:
    words = show_metrics(findings.measured)
    if findings.folds is not None:
        words.append(
            f"{len(findings.folds.folds)}-fold accuracy {100 * findings.folds.mean:.2f} ± "
            f"{100 * findings.folds.standard_error:.2f} %"
        )
    return f"{'; '.join(words)}."


def _identification(found: Identification, failures: WithFailures | None) -> list[Part]:
    low, high = found.rank1_ci95
    text = (
        f"{found.mated_probes:,} probes against {found.enrolled:,} enrolled people: rank 1 {percent(found.rank1)} "
        f"(95 % CI (by identity): {100 * low:.2f} to {100 * high:.2f} %)."
    )
    if failures is not None and failures.failures[1]:
        text += f" {failures.failures[1]:,} failed photos are not counted here."
    if not found.open_set:
        return [text]
    rows = [
        [
            f"{point.far:g}", percent(point.tar), interval(point.tar_ci95), _number(point.threshold),
            _rate(point.achieved_far),
        ]
        for point in found.open_set
    ]  # fmt: skip
    head = ["alarms of strangers", "DIR", "95 % CI (by identity)", "threshold", "achieved"]
    open_set = (
        f"Open set, half of the identities not enrolled: {found.open_set[0].impostor_pairs:,} probes of strangers."
    )
    return [text, open_set, Table(head, rows, [point.remark for point in found.open_set])]


def _failures(points: Sequence[OperatingPoint], failures: WithFailures) -> list[Part]:
    rows = [
        [f"{point.far:g}", percent(point.tar), percent(tar), _rate(point.achieved_far), _rate(far)]
        for point, tar, far in zip(points, failures.tar, failures.far, strict=True)
    ]
    head = ["FAR", "TAR of crops", "TAR, failures rejected", "achieved FAR of crops", "achieved FAR, failures rejected"]
    return [f"{sum(failures.failures):,} photos gave no crop.", Table(head, rows)]


def _before(before: BeforeAfter, new: Sequence[OperatingPoint]) -> list[Part]:
    differences = _differences(before)
    if not before.mixed:
        return [differences, "The embeddings of the two networks differ in size: everybody must be re-enrolled."]
    at_old = dict(
        zip((p.far for p in before.old if p.threshold is not None), before.mixed_at_old_thresholds, strict=True)
    )
    rows = []
    for point, old, mixed in zip(new, before.old, before.mixed, strict=True):
        kept = at_old.get(old.far)
        rows.append(
            [
                f"{point.far:g}", percent(old.tar), percent(mixed.tar), interval(mixed.tar_ci95),
                percent(point.tar),
                percent(kept.tar if kept else None), _rate(kept.achieved_far if kept else None),
            ]
        )  # fmt: skip
    head = [
        "FAR", "old gallery, old probe", "old gallery, new probe", "95 % CI (by identity)", "new gallery, new probe",
        "old gallery, new probe at the old threshold", "achieved FAR there",
    ]  # fmt: skip
    return [differences, "Must everybody be re-enrolled? TAR with galleries kept:", Table(head, rows)]


def _differences(before: BeforeAfter) -> Table:
    rows: list[list[str | tuple[str]]] = []
    for difference in before.differences:
        if difference is None:
            continue
        verdict = "significant" if difference.significant else "not significant"
        low, high = difference.ci95
        rows.append(
            [
                f"{difference.far:g}", percent(difference.first), percent(difference.second),
                f"{100 * difference.difference:+z.2f}", f"{100 * low:+z.2f} to {100 * high:+z.2f}",
                f"{difference.p_value:.3f}", (verdict,),
            ]
        )  # fmt: skip
    head = ["FAR", "old TAR", "new TAR", "difference, points", "95 % CI (by identity, paired)", "p", ""]
    return Table(head, rows)


def _elsewhere(findings: Findings) -> Table:
    rows = [
        [
            f"{far:g}", _number(point.threshold, -1 if findings.distances else 1), _rate(point.achieved_far),
            _rates(point.far_ci95), percent(point.tar), interval(point.tar_ci95),
        ]
        for far, point in findings.elsewhere
    ]  # fmt: skip
    return Table(["chosen for FAR", "threshold", "achieved FAR here", "95 % CI", "TAR here", "95 % CI"], rows)


def _slices(slices: Sequence[Slice]) -> Table:
    rows: list[list[str | tuple[str]]] = []
    for part in slices:
        if not part.points:
            rows.append([part.value, f"{part.images:,}", "", "", "", "", "", (part.remark,)])
        rows += [
            [
                part.value, f"{part.images:,}", _number(point.threshold), percent(point.tar),
                interval(point.tar_ci95), _rate(point.achieved_far), _rates(point.far_ci95), ("",),
            ]
            for point in part.points
        ]  # fmt: skip
    return Table(["value", "images", "threshold", "TAR", "95 % CI", "FAR", "95 % CI", ""], rows)


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.3g}"


def _rates(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.2g} to {bounds[1]:.2g}"


def _number(threshold: float | None, sign: int = 1) -> str:
    return "" if threshold is None else f"{sign * threshold:.4f}"
