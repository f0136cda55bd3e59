"""A self-contained page of everything that was found: no script, no font, no image from anywhere else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facexfer.eval.curves import area_under_roc, equal_error_rate
from facexfer.eval.identification import Identification
from facexfer.eval.report.as_json import findings_to_json
from facexfer.eval.report.definitions import DEFINITIONS
from facexfer.eval.report.findings import BeforeAfter, Findings, Slice, WithFailures
from facexfer.eval.report.page import escape, facts, figure, interval, make_html, percent, picture, table, write_pages
from facexfer.eval.report.plots import draw_cmc, draw_det, draw_histogram, draw_roc
from facexfer.eval.verification import OperatingPoint


@dataclass(frozen=True)
class ShownPair:
    """A pair of images that a verifier gets wrong first.

    Attributes:
        kind: ``false accept`` or ``false reject``.
        score: Of the pair.
        captions: What the two images are.
        pictures: The two files' bytes, PNG; empty where images are left out.
    """

    kind: str
    score: float
    captions: tuple[str, str]
    pictures: tuple[bytes, ...] = ()


def write_report(folder: Path, findings: Findings, shown: Sequence[ShownPair] = ()) -> None:
    """Write ``report.html`` and ``report.json`` into a folder, beside and renamed.

    Args:
        folder: Made if it is not there; other files in it stay.
        findings: What to report.
        shown: The worst pairs.

    Raises:
        InputError: If the folder cannot be made or written.
    """
    page = make_page(findings, shown)
    text = json.dumps(findings_to_json(findings), indent=2, allow_nan=False) + "\n"
    write_pages(folder, {"report.html": page, "report.json": text})


def make_page(findings: Findings, shown: Sequence[ShownPair] = ()) -> str:
    """Make the page.

    Args:
        findings: What to report.
        shown: The worst pairs.

    Returns:
        HTML text.
    """
    first = findings.points[0]
    parts = [
        f"<h1>Face verification: {escape(findings.comparison)}</h1>",
        f"<p class=lead>{first.genuine_pairs:,} genuine and {first.impostor_pairs:,} impostor pairs"
        + (f" of {first.identities:,} identities with genuine pairs" if first.identities else "")
        + f"; {'distances' if findings.distances else 'cosine similarities'}.</p>",
        "<h2>True accept rate at false accept rates</h2>",
        _points(findings.points, findings.distances),
        _summary(findings),
        "<h2>Curves</h2><div class=figures>",
        figure(draw_roc(findings.curve, findings.band), "ROC; the band is the 95 % CI of TAR (by identity)"),
        figure(draw_det(findings.curve, findings.band), "DET on normal-deviate axes, with the same band"),
        figure(
            draw_histogram(findings.curve, findings.points, findings.distances),
            "Scores of all pairs; dashed: the thresholds for the FARs of the table",
        ),
    ]
    if findings.identification is not None:
        parts.append(figure(draw_cmc(findings.identification), "CMC: the right person within the first entries"))
    parts.append("</div>")
    if findings.identification is not None:
        parts += ["<h2>Identification</h2>", _identification(findings.identification)]
    if findings.failures is not None:
        parts += ["<h2>Failures to acquire</h2>", _failures(findings.points, findings.failures)]
    if findings.before is not None:
        parts += ["<h2>Before and after</h2>", _before(findings.before, findings.points)]
    if findings.visible is not None:
        parts += ["<h2>What it cost in visible light</h2>", _differences(findings.visible)]
    if findings.elsewhere:
        parts += ["<h2>Thresholds chosen elsewhere, applied here</h2>", _elsewhere(findings)]
    for column, slices in findings.slices.items():
        parts += [f"<h2>By {escape(column)}</h2>", _slices(slices)]
    if shown:
        parts += ["<h2>The worst pairs</h2>", _pairs(shown)]
    parts += ["<h2>What was measured</h2>", facts(findings.facts), "<h2>Definitions</h2>", facts(DEFINITIONS)]
    return make_html(f"Face verification: {findings.comparison}", parts)


def _points(points: Sequence[OperatingPoint], distances: bool) -> str:
    rows = [
        [
            f"{point.far:g}", percent(point.tar), interval(point.tar_ci95), interval(point.tar_ci95_wilson),
            _number(point.threshold, -1 if distances else 1), _rate(point.achieved_far),
            _rates(point.far_ci95), _rates(point.far_ci95_wilson),
        ]
        for point in points
    ]  # fmt: skip
    known = points[0].identities is not None
    of = "(by identity)" if known else "(by pair)"
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
    return table(head, rows, [point.remark for point in points])


def _summary(findings: Findings) -> str:
    area, equal = area_under_roc(findings.curve), equal_error_rate(findings.curve)
    words = [
        f"AUC {area.value:.6f}" + (f" (&plusmn; {area.error:.1g}, binned)" if area.error else ""),
        f"EER {100 * equal.value:.3f} %",
    ]
    words += [
        f"FMR{round(1 / point.far)} {percent(None if point.tar is None else 1 - point.tar) or 'unsupported'}"
        for point in findings.standard
    ]
    if findings.folds is not None:
        words.append(
            f"{len(findings.folds.folds)}-fold accuracy {100 * findings.folds.mean:.2f} &plusmn; "
            f"{100 * findings.folds.standard_error:.2f} %"
        )
    return f"<p>{'; '.join(words)}.</p>"


def _identification(found: Identification) -> str:
    low, high = found.rank1_ci95
    text = (
        f"<p>{found.mated_probes:,} probes against {found.enrolled:,} enrolled people: rank 1 {percent(found.rank1)} "
        f"(95 % CI (by identity): {100 * low:.2f} to {100 * high:.2f} %).</p>"
    )
    if not found.open_set:
        return text
    rows = [
        [
            f"{point.far:g}", percent(point.tar), interval(point.tar_ci95), _number(point.threshold),
            _rate(point.achieved_far),
        ]
        for point in found.open_set
    ]  # fmt: skip
    head = ["alarms of strangers", "DIR", "95 % CI (by identity)", "threshold", "achieved"]
    return (
        f"{text}<p>Open set, half of the identities not enrolled: {found.open_set[0].impostor_pairs:,} probes of "
        f"strangers.</p>{table(head, rows, [point.remark for point in found.open_set])}"
    )


def _failures(points: Sequence[OperatingPoint], failures: WithFailures) -> str:
    rows = [
        [f"{point.far:g}", percent(point.tar), percent(tar), _rate(point.achieved_far), _rate(far)]
        for point, tar, far in zip(points, failures.tar, failures.far, strict=True)
    ]
    head = ["FAR", "TAR of crops", "TAR, failures rejected", "achieved FAR of crops", "achieved FAR, failures rejected"]
    return f"<p>{sum(failures.failures):,} photos gave no crop.</p>{table(head, rows)}"


def _before(before: BeforeAfter, new: Sequence[OperatingPoint]) -> str:
    text = _differences(before)
    if not before.mixed:
        return f"{text}<p>The embeddings of the two networks differ in size: everybody must be re-enrolled.</p>"
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
    return f"{text}<p>Must everybody be re-enrolled? TAR with galleries kept:</p>{table(head, rows)}"


def _differences(before: BeforeAfter) -> str:
    rows = []
    for difference in before.differences:
        if difference is None:
            continue
        verdict = "significant" if difference.significant else "not significant"
        low, high = difference.ci95
        rows.append(
            [
                f"{difference.far:g}", percent(difference.first), percent(difference.second),
                f"{100 * difference.difference:+.2f}", f"{100 * low:+.2f} to {100 * high:+.2f}",
                f"{difference.p_value:.3f}", (verdict,),
            ]
        )  # fmt: skip
    head = ["FAR", "old TAR", "new TAR", "difference, points", "95 % CI (by identity, paired)", "p", ""]
    return table(head, rows)


def _elsewhere(findings: Findings) -> str:
    rows = [
        [
            f"{far:g}", _number(point.threshold, -1 if findings.distances else 1), _rate(point.achieved_far),
            _rates(point.far_ci95), percent(point.tar), interval(point.tar_ci95),
        ]
        for far, point in findings.elsewhere
    ]  # fmt: skip
    return table(["chosen for FAR", "threshold", "achieved FAR here", "95 % CI", "TAR here", "95 % CI"], rows)


def _slices(slices: Sequence[Slice]) -> str:
    rows: list[list[Any]] = []
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
    return table(["value", "images", "threshold", "TAR", "95 % CI", "FAR", "95 % CI", ""], rows)


def _pairs(shown: Sequence[ShownPair]) -> str:
    parts = []
    for pair in shown:
        pictures = "".join(picture(each) for each in pair.pictures)
        captions = "<br>".join(escape(caption) for caption in pair.captions)
        text = f"{escape(pair.kind)}, score {pair.score:.4f}<br>{captions}"
        parts.append(f"<div class=pair>{pictures}<div>{text}</div></div>")
    return f"<div class=pairs>{''.join(parts)}</div>"


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.3g}"


def _rates(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.2g} to {bounds[1]:.2g}"


def _number(threshold: float | None, sign: int = 1) -> str:
    return "" if threshold is None else f"{sign * threshold:.4f}"
