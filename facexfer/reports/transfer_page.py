"""The page that shows what a transfer did: figures before and after, curves, attention, faces."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.data.images import read_crop
from facexfer.data.manifest import Manifest
from facexfer.data.pictures.depths import find_depths
from facexfer.eval.report.definitions import all_definitions
from facexfer.eval.report.page import (
    Facts,
    Part,
    Plots,
    Section,
    Sheet,
    Table,
    interval,
    make_html,
    percent,
    write_pages,
)
from facexfer.eval.report.plots import draw_rocs
from facexfer.eval.verification import OperatingPoint
from facexfer.measure.transfers import NetworkFindings
from facexfer.reports.attention import attention_alike
from facexfer.reports.loss_curves import loss_parts
from facexfer.reports.sheets import draw_channel_attention, draw_sheet, draw_spatial_attention
from facexfer.reports.trained_attention import AttentionMaps, read_attention, untrained_attention

_TITLES = {
    "vis": "VIS against VIS",
    "nir": "NIR against NIR",
    "vis-nir": "VIS gallery, NIR probe",
}
_SHOWN_PEOPLE = 8
_ATTENDED = 4
_UNCHANGED = 0.9
_UNTRAINED = (
    ": this run has hardly trained them, and the pattern is that of the random start. A greater "
    "spatial_alpha and more steps train them more."
)


@dataclass(frozen=True)
class Shown:
    """What the page shows in addition to the figures.

    Attributes:
        title: Of the page.
        lead: One sentence below the title.
        expected: What to look for in the figures, one sentence for each network by name.
        images: The images that were measured on; some people of them are shown.
        runs: The compared runs by name; the attention shown is that of the last one that has any.
        facts: What was run, where and for how long; the JSON has it too.
    """

    title: str
    lead: str
    expected: Mapping[str, str]
    images: Manifest
    runs: Mapping[str, Path]
    facts: Mapping[str, Any]


def write_transfer_page(folder: Path, findings: NetworkFindings, shown: Shown) -> None:
    """Write ``report.html`` and ``report.json`` into a folder, atomically.

    Args:
        folder: Made if it is not there.
        findings: The figures.
        shown: What else is shown.

    Raises:
        InputError: If an image cannot be read or the folder not be written.
    """
    figures = {"figures": findings.to_json(), "facts": dict(shown.facts)}
    files = {
        "report.html": make_transfer_page(findings, shown),
        "report.json": json.dumps(figures, indent=2, allow_nan=False) + "\n",
    }
    write_pages(folder, files)


def make_transfer_page(findings: NetworkFindings, shown: Shown) -> str:
    """Make the page as HTML text; the arguments are those of `write_transfer_page`."""
    before_and_after: list[Part] = [
        "TAR: how many pairs of one person are accepted when at most the stated share of pairs of two people (FAR) is. "
        "In brackets the 95 % CI (by identity).",
        _figures_table(findings),
        _differences_table(findings),
        Facts(shown.expected),
    ]
    drawn = [
        (draw_rocs({name: each.curve for name, each in networks.items()}), _TITLES[comparison])
        for comparison, networks in findings.measured.items()
    ]
    drawn.append((loss_parts(shown.runs), "The parts of the objective while training"))
    sections: list[Section] = [
        ("Faces", _faces(shown.images)),
        ("Before and after", before_and_after),
        ("Curves", [Plots(drawn)]),
        *_attention(shown),
        ("What was run", [Facts(shown.facts)]),
        ("Definitions", [Facts(all_definitions())]),
    ]
    return make_html(shown.title, shown.lead, sections)


def _figures_table(findings: NetworkFindings) -> Table:
    names = list(next(iter(findings.measured.values())))
    rows = [
        [_TITLES[title], f"{far:g}", *(_rate(networks[name].points[number]) for name in names)]
        for title, networks in findings.measured.items()
        for number, far in enumerate(findings.fars)
    ]
    return Table(["pairs", "FAR", *names], rows)


def _rate(point: OperatingPoint) -> str:
    if not point.supported:
        return "unsupported"
    return f"{percent(point.tar)} ({interval(point.tar_ci95)})"


def _differences_table(findings: NetworkFindings) -> Table:
    rows: list[list[str | tuple[str]]] = []
    for (new, old, title), of_far in findings.differences.items():
        for difference in of_far:
            if difference is not None:
                low, high = difference.ci95
                verdict = "significant" if difference.significant else "not significant"
                rows.append(
                    [
                        f"{new} against {old}", _TITLES[title], f"{difference.far:g}",
                        f"{100 * difference.difference:+z.2f}", f"{100 * low:+z.2f} to {100 * high:+z.2f}", (verdict,),
                    ]
                )  # fmt: skip
    head = ["difference", "pairs", "FAR", "points", "95 % CI (by identity, paired)", ""]
    return Table(head, rows)


def _faces(images: Manifest) -> list[Part]:
    people = images.identities[:_SHOWN_PEOPLE]
    rows = []
    for modality in ("vis", "nir"):
        chosen = images.select(modality=modality)
        rows.append([_crops(chosen.select(identities={person}))[0] for person in people])
    return [
        f"{len(people)} of the {len(images.identities)} people that the figures are about; above in visible light, "
        "below the same moment through the infrared camera.",
        Sheet(draw_sheet(rows), "the same people in visible and in infrared light"),
    ]


def _attention(shown: Shown) -> list[Section]:
    people = shown.images.select(modality="nir")
    crops = np.stack([_crops(people.select(identities={name}))[0] for name in people.identities[:_ATTENDED]])
    found: tuple[AttentionMaps, ...] = ()
    untrained = found
    for run in shown.runs.values():
        if here := read_attention(run, crops):
            found, untrained = here, untrained_attention(run, crops)
    spatial = [maps for maps in found if maps.term == "spatial"]
    channel = [maps for maps in found if maps.term == "channel"]
    sections: list[Section] = []
    if spatial:
        layers = ", ".join(maps.layer for maps in spatial)
        most = ", ".join(f"{maps.relative.max():.2f}" for maps in spatial)
        pairs = zip(untrained, found, strict=True)
        kept = [attention_alike(before, after) for before, after in pairs if after.term == "spatial"]
        text = (
            f"From the left: the crop, then the layers {layers}. Bright places are held closest to the source network; "
            "half bright is the average, bright is twice that or more. The largest weights are "
            f"{most} times the average. The maps' correlation with those before training is "
            f"{', '.join(f'{value:.3f}' for value in kept)}{_UNTRAINED if min(kept) > _UNCHANGED else '.'}"
        )
        sheet = Sheet(draw_spatial_attention(crops, spatial), "spatial attention over faces")
        sections.append(("Where the alignment looks: spatial attention (SAM, first stage)", [text, sheet]))
    if channel:
        text = (
            "The channels of each layer by falling weight, as multiples of the average; the band is the spread over "
            "these faces."
        )
        plots = Plots([(draw_channel_attention(channel), "Weights of the channels")])
        sections.append(("Which channels it holds: channel attention (CAM, second stage)", [text, plots]))
    return sections


def _crops(images: Manifest) -> Sequence[np.ndarray]:
    depths = find_depths(images.images)
    return [read_crop(image.path, usual_bits=depths.usual(image)) for image in images.images[:1]]
