"""The page that shows what a transfer did: figures before and after, curves, attention, faces."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.data.images import read_crop
from facexfer.data.manifest import Manifest
from facexfer.eval.report.definitions import DEFINITIONS
from facexfer.eval.report.page import escape, facts, figure, interval, make_html, percent, picture, table, write_pages
from facexfer.eval.report.plots import draw_rocs
from facexfer.eval.verification import OperatingPoint
from facexfer.measure.transfers import NetworkFindings
from facexfer.reports.attention import attention_alike
from facexfer.reports.sheets import draw_channel_attention, draw_losses, draw_sheet, draw_spatial_attention
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
    ": <b>this run has hardly trained them</b>, and the pattern is that of the random start. A greater "
    "spatial_alpha and more steps train them more."
)


@dataclass(frozen=True)
class Shown:
    """What the page shows beside the figures.

    Attributes:
        title: Of the page.
        lead: One sentence below the title.
        images: The images that were measured on; some people of them are shown.
        runs: The compared runs by name; the attention shown is that of the last one that has any.
        facts: What was run, where and for how long; beside the figures in the JSON too.
    """

    title: str
    lead: str
    images: Manifest
    runs: Mapping[str, Path]
    facts: Mapping[str, Any]


def write_transfer_page(folder: Path, findings: NetworkFindings, shown: Shown) -> None:
    """Write ``report.html`` and ``report.json`` into a folder, beside and renamed.

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
    parts = [
        f"<h1>{escape(shown.title)}</h1><p class=lead>{escape(shown.lead)}</p>",
        *_faces(shown.images),
        "<h2>Before and after</h2>",
        "<p>TAR: how many pairs of one person are accepted when at most the stated share of pairs of two people (FAR) "
        "is. In brackets the 95 % CI (by identity).</p>",
        _figures_table(findings),
        _differences_table(findings),
        "<h2>Curves</h2><div class=figures>",
        *(
            figure(draw_rocs({name: each.curve for name, each in networks.items()}), _TITLES[comparison])
            for comparison, networks in findings.measured.items()
        ),
        figure(draw_losses(shown.runs), "The parts of the objective while training"),
        "</div>",
        *_attention(shown),
        "<h2>What was run</h2>",
        facts(shown.facts),
        "<h2>Definitions</h2>",
        facts(DEFINITIONS),
    ]
    return make_html(shown.title, parts)


def _figures_table(findings: NetworkFindings) -> str:
    names = list(next(iter(findings.measured.values())))
    rows = [
        [_TITLES[title], f"{far:g}", *(_rate(networks[name].points[number]) for name in names)]
        for title, networks in findings.measured.items()
        for number, far in enumerate(findings.fars)
    ]
    return table(["pairs", "FAR", *names], rows)


def _rate(point: OperatingPoint) -> str:
    if not point.supported:
        return "unsupported"
    return f"{percent(point.tar)} ({interval(point.tar_ci95)})"


def _differences_table(findings: NetworkFindings) -> str:
    rows: list[list[Any]] = []
    for (new, old, title), of_far in findings.differences.items():
        for difference in of_far:
            if difference is not None:
                low, high = difference.ci95
                verdict = "significant" if difference.significant else "not significant"
                rows.append(
                    [
                        f"{new} against {old}", _TITLES[title], f"{difference.far:g}",
                        f"{100 * difference.difference:+.2f}", f"{100 * low:+.2f} to {100 * high:+.2f}", (verdict,),
                    ]
                )  # fmt: skip
    head = ["difference", "pairs", "FAR", "points", "95 % CI (by identity, paired)", ""]
    return table(head, rows)


def _faces(images: Manifest) -> list[str]:
    people = images.identities[:_SHOWN_PEOPLE]
    rows = []
    for modality in ("vis", "nir"):
        chosen = images.select(modality=modality)
        rows.append([_crops(chosen.select(identities={person}))[0] for person in people])
    sheet = picture(draw_sheet(rows), "the same people in visible and in infrared light")
    return [
        "<h2>Faces</h2>",
        f"<p>{len(people)} of the {len(images.identities)} people that the figures are about; above in visible light, "
        "below the same moment through the infrared camera.</p>",
        f'<figure class="sheet">{sheet}</figure>',
    ]


def _attention(shown: Shown) -> list[str]:
    people = shown.images.select(modality="nir")
    crops = np.stack([_crops(people.select(identities={name}))[0] for name in people.identities[:_ATTENDED]])
    found: tuple[AttentionMaps, ...] = ()
    untrained = found
    for run in shown.runs.values():
        if here := read_attention(run, crops):
            found, untrained = here, untrained_attention(run, crops)
    spatial = [maps for maps in found if maps.term == "spatial"]
    channel = [maps for maps in found if maps.term == "channel"]
    parts = []
    if spatial:
        layers = ", ".join(maps.layer for maps in spatial)
        sheet = picture(draw_spatial_attention(crops, spatial), "spatial attention over faces")
        most = ", ".join(f"{maps.relative.max():.2f}" for maps in spatial)
        pairs = zip(untrained, found, strict=True)
        kept = [attention_alike(before, after) for before, after in pairs if after.term == "spatial"]
        parts += [
            "<h2>Where the alignment looks: spatial attention (SAM, first stage)</h2>",
            f"<p>From the left: the crop, then the layers {escape(layers)}. Bright places are held closest to the "
            "source network; half bright is the average, bright is twice that or more. The largest weights are "
            f"{most} times the average. The maps' correlation with those before training is "
            f"{', '.join(f'{value:.3f}' for value in kept)}{_UNTRAINED if min(kept) > _UNCHANGED else '.'}</p>",
            f'<figure class="sheet">{sheet}</figure>',
        ]
    if channel:
        parts += [
            "<h2>Which channels it holds: channel attention (CAM, second stage)</h2>",
            "<p>The channels of each layer by falling weight, as multiples of the average; the band is the spread over "
            "these faces.</p><div class=figures>",
            figure(draw_channel_attention(channel), "Weights of the channels"),
            "</div>",
        ]
    return parts


def _crops(images: Manifest) -> Sequence[np.ndarray]:
    return [read_crop(image.path) for image in images.images[:1]]
