"""The page and its JSON: complete, self-contained, and safe with any text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from facexfer.errors import InputError
from facexfer.eval.curves import curve_of_scores
from facexfer.eval.folds import FoldAccuracy
from facexfer.eval.identification import identify
from facexfer.eval.paired import Difference
from facexfer.eval.report.as_text import findings_to_text
from facexfer.eval.report.findings import BeforeAfter, Findings, Slice, WithFailures
from facexfer.eval.report.page import ShownPair
from facexfer.eval.report.verification_page import make_page, write_report
from facexfer.eval.scores import all_pairs
from facexfer.eval.verification import tar_at_far


@pytest.fixture
def findings() -> Findings:
    generator = np.random.default_rng(0)
    genuine, impostor = generator.normal(2, 1, 500), generator.normal(0, 1, 20_000)
    points = tar_at_far(genuine, impostor, [0.01, 1e-4, 1e-6])
    labels = np.repeat(np.arange(10), 2)
    embeddings = np.eye(10)[labels] + 0.3 * generator.normal(size=(20, 10))
    return Findings(
        comparison="nir <script>",
        points=points,
        curve=curve_of_scores(genuine, impostor),
        band=tar_at_far(genuine, impostor, [1e-3, 0.1, 1.0]),
        standard=tar_at_far(genuine, impostor, [1e-2, 1e-3, 1e-4]),
        failures=WithFailures((0, 3), 520, 21_000, (0.5, 0.1, None), (0.009, 9e-5, None)),
        identification=identify(embeddings[::2], labels[::2], embeddings[1::2], labels[1::2], [0.1]),
        slices={"camera": (Slice("a", 10, points), Slice("b & c", 1, (), "no genuine pair"))},
        elsewhere=((1e-3, points[0]),),
        folds=FoldAccuracy(0.99, 0.001, (0.98, 1.0), (0.3, 0.4)),
        facts={"model": {"sha256": "ab" * 32}},
    )


class Balance(HTMLParser):
    """Checks that every tag is closed, outside of what HTML lets be open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str]]) -> None:
        self.seen.add(tag)
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_complete_balanced_and_self_contained(findings: Findings) -> None:
    shown = [
        ShownPair("false accept", 0.7, ("p1", "<b>"), (b"one", b"two")),
        ShownPair("false reject", -0.1, ("a", "b")),
    ]
    page = make_page(findings, shown)
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert balance.seen.isdisjoint({"script", "link", "iframe", "b"})
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(each.startswith(("data:image/png;base64,", "#")) for each in addresses)
    assert "url(http" not in page
    for heading in (
        "True accept rate", "Curves", "Identification", "Failures to acquire", "Thresholds chosen elsewhere",
        "By camera", "The worst pairs", "What was measured", "Definitions",
    ):  # fmt: skip
        assert f"<h2>{heading}" in page
    assert page.count("<svg") == 4
    assert "FAR 1e-06 needs at least 1,000,000 impostor pairs" in page
    assert "2-fold accuracy 99.00" in page
    assert "b &amp; c" in page


def test_the_same_findings_give_the_same_page(findings: Findings) -> None:
    assert make_page(findings) == make_page(findings)


def test_files(findings: Findings, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine.txt").write_text("stays")
    write_report(tmp_path / "r", findings)
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["mine.txt", "report.html", "report.json"]
    figures = json.loads((tmp_path / "r" / "report.json").read_text())
    assert figures["operating_points"][2]["supported"] is False
    assert figures["with_failures"]["tar"] == [0.5, 0.1, None]
    assert figures["identification"]["enrolled"] == 10
    assert figures["slices"]["camera"][1]["remark"] == "no genuine pair"
    assert figures["definitions"]["TAR"]
    assert figures["fmr100"] == pytest.approx(1 - findings.standard[0].tar)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a folder for the report"):
        write_report(tmp_path / "file", findings)


def test_distances_are_reported_as_distances(findings: Findings) -> None:
    from dataclasses import replace

    from facexfer.eval.report.as_json import findings_to_json

    figures = findings_to_json(replace(findings, distances=True))
    assert figures["operating_points"][0]["threshold"] == -findings.points[0].threshold
    assert figures["accept"] == "distance below threshold"


def test_intervals_are_called_what_they_are(findings: Findings) -> None:
    assert "ROC; the band is the 95 % CI of TAR (Wilson)" in make_page(findings, ())
    embeddings = np.random.default_rng(0).normal(size=(30, 8))
    # A target that the pairs do not support comes first, and says nothing of identities.
    points = tuple(all_pairs(embeddings, np.arange(30) // 3, [1e-6, 0.1]))
    known = replace(findings, points=points, band=points[1:], failures=None, slices={})
    assert known.identities == 10
    page = make_page(known, ())
    assert "the 95 % CI of TAR (by identity)" in page
    assert "of 10 identities with genuine pairs" in page
    assert "95 % CI (by identity)" in page
    assert "(by identity)" in findings_to_text(known).splitlines()[2]


def test_no_change_has_no_minus(findings: Findings) -> None:
    """A difference that rounds to nothing is neither a loss nor minus nothing."""
    change = Difference(0.1, 0.9, 0.9, -1e-9, (-0.0, 1e-9), 1.0)
    points = findings.points
    plain = replace(findings, failures=None, slices={})
    changed = replace(plain, before=BeforeAfter(points, (change,) * len(points), (), ()))
    assert "new minus old at FAR 0.1: +0.00 points (+0.00 to +0.00), not significant" in findings_to_text(changed)
    assert "-0.00" not in make_page(changed)
