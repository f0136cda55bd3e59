"""One page of what a device's log says, in the style of an evaluation's report."""

import json
from pathlib import Path

import numpy as np

from facexfer.deploy.monitor import Monitored
from facexfer.deploy.monitor_json import monitored_to_json
from facexfer.errors import counted
from facexfer.eval.report.page import Facts, Plots, Section, Table, interval, make_html, percent, write_pages
from facexfer.eval.report.plots import make_axes, to_svg
from facexfer.eval.shift import Shift

_BLUE, _ORANGE = "#2f5d8a", "#c8691c"
_ASSUMED = {
    "what is compared": "the share of attempts accepted, and the accepted scores among themselves. Below the threshold "
    "genuine and impostor attempts are mixed in an unknown share, so nothing is concluded from there.",
    "impostors": "at most the stated share of attempts; among the accepted ones they are too few to matter.",
    "users": "attempts by the same user are correlated: all intervals and tests sum over a user's attempts first, "
    "and over the identities of the measured set.",
    "digits": "accepted scores are those above the threshold in the digits written; where these do not tell, both are "
    "possible, and the intervals of the accept rate hold for all that is possible.",
    "level": "5 % of alarms without a cause, all tests together (Bonferroni).",
}


def write_monitor_page(folder: Path, found: Monitored) -> None:
    """Write ``report.html`` and ``report.json`` into a folder, atomically.

    Args:
        folder: Made if it is not there.
        found: What the log says.

    Raises:
        InputError: If the folder cannot be made or written.
    """
    text = json.dumps(monitored_to_json(found), indent=2, allow_nan=False) + "\n"
    write_pages(folder, {"report.html": _page(found), "report.json": text})


def _page(found: Monitored) -> str:
    users = "" if found.users is None else f" by {counted(found.users, 'user')}"
    lead = (
        f"{counted(found.attempts, 'attempt')}{users} against {found.bundle.name}, threshold "
        f"{found.measured.threshold:.4f} (FAR {found.far:g})."
    )
    verdict = [
        *(f"Alarm: {reason}." for reason in found.reasons),
        *(f"{text[0].upper()}{text[1:]}." for text in found.remarks),
    ]
    sections: list[Section] = [
        ("Verdict", verdict or ["Nothing has moved beyond what chance explains."]),
        ("Tests", [_tests(found)]),
    ]
    if len(found.accepted):
        sections.append(("Accepted scores", [Plots([(_distribution(found), "Dots: the bundle, with its 95 % CI")])]))
    if found.windows:
        sections.append(("Over time", [_over_time(found), Plots([(_rates(found), "Accept rate, 95 % CI (by user)")])]))
    facts = {"bundle": str(found.bundle), "largest share of impostors": percent(found.impostor_share)}
    return make_html("Is the device where it was measured?", lead, [*sections, ("Assumed", [Facts(facts | _ASSUMED)])])


def _tests(found: Monitored) -> Table:
    rows = []
    if (rate := found.accept_rate) is not None:
        rows.append(
            [
                "accept rate",
                percent(rate.observed),
                interval(rate.observed_ci95),
                _expected(rate),
                f"{rate.p_value:.3g}",
            ]
        )
    if (shape := found.shape) is not None:
        title = f"accepted scores above {shape.score:.3f}"
        rows.append(
            [title, percent(shape.observed), interval(shape.observed_ci95), _expected(shape), f"{shape.p_value:.3g}"]
        )
    if (trend := found.trend) is not None:
        low, high = trend.observed_ci95
        rows.append(
            [
                "change of accepted scores",
                f"{trend.observed:+z.4f}",
                f"{low:+z.4f} to {high:+z.4f}",
                "0",
                f"{trend.p_value:.3g}",
            ]
        )
    return Table(["", "logged", "95 % CI (by user)", "expected", "p"], rows)


def _expected(test: Shift) -> str:
    return percent(test.expected[0]) if test.expected[0] == test.expected[1] else interval(test.expected)


def _distribution(found: Monitored) -> str:
    figure, axes = make_axes("score", "share of accepted scores above")
    count = len(found.accepted)
    axes.step(found.accepted, 1 - np.arange(1, count + 1) / count, where="post", color=_ORANGE, label="log")
    errors = 1.96 * np.sqrt(np.diag(found.measured.covariance))
    axes.errorbar(found.measured.scores, found.measured.above, errors, fmt="o", ms=3, color=_BLUE, label="bundle")
    axes.legend(frameon=False)
    return to_svg(figure)


def _rates(found: Monitored) -> str:
    figure, axes = make_axes("part of the log", "accept rate")
    places = np.arange(1, len(found.windows) + 1)
    axes.set_xticks(places)
    rates = np.array([window.accept_rate for window in found.windows])
    low, high = np.array([window.accept_rate_ci95 for window in found.windows]).T
    axes.errorbar(places, rates, np.maximum(0, (rates - low, high - rates)), fmt="o-", ms=3, color=_ORANGE)
    if found.accept_rate is not None:
        axes.axhspan(*found.accept_rate.expected, color=_BLUE, alpha=0.3)
    return to_svg(figure)


def _over_time(found: Monitored) -> Table:
    rows = [
        [
            window.start, window.end, f"{window.attempts:,}", percent(window.accept_rate),
            interval(window.accept_rate_ci95), "" if window.mean_accepted is None else f"{window.mean_accepted:.4f}",
        ]
        for window in found.windows
    ]  # fmt: skip
    return Table(["from", "to", "attempts", "accept rate", "95 % CI (by user)", "mean accepted score"], rows)
