"""``facexfer evaluate``: what a model, anybody's embeddings, or anybody's scores are worth."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from facexfer.errors import InputError
from facexfer.eval.arrays import read_array
from facexfer.eval.report.as_json import findings_to_json
from facexfer.eval.report.findings import Findings
from facexfer.eval.score_files import read_scores

_DEFAULT_FARS = [1e-2, 1e-3, 1e-4]
_SHOWN_PAIRS = 12
_VISIBLE = "vis"


def evaluate(
    model: Annotated[
        Path | None, typer.Option(help="A run, a checkpoint, an ONNX file, or weights with --backbone.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="The network's name, for foreign weights.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="The images' manifest.")] = None,
    split: Annotated[str | None, typer.Option(help="Take this split of the manifest.")] = None,
    probe: Annotated[str | None, typer.Option(help="Modality of the probes; alone: pairs within it.")] = None,
    gallery: Annotated[str | None, typer.Option(help="Modality of the gallery.")] = None,
    embeddings: Annotated[Path | None, typer.Option(help="Embeddings (N, D), .npy.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Their labels (N,), .npy.")] = None,
    gallery_embeddings: Annotated[Path | None, typer.Option(help="Compare with these (G, D) instead, .npy.")] = None,
    gallery_labels: Annotated[Path | None, typer.Option(help="Their labels (G,), .npy.")] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            help="Genuine and impostor scores, two .npy or text files; or one CSV with the columns score and same."
        ),
    ] = None,
    distances: Annotated[bool, typer.Option("--distances", help="The scores are distances: lower is alike.")] = False,
    far: Annotated[list[float] | None, typer.Option(help="False accept rates, as fractions.")] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Add the embedding of the mirrored crop.")] = False,
    templates: Annotated[
        bool, typer.Option("--templates", help="Enrol the mean of half of each identity's captures.")
    ] = False,
    identify: Annotated[bool, typer.Option("--identify", help="Look people up: rank 1, CMC, open set.")] = False,
    slice_by: Annotated[list[str] | None, typer.Option(help="Figures by each value of a manifest column.")] = None,
    failures: Annotated[
        Path | None, typer.Option(help="CSV of photos without a crop; they count as rejects, beside.")
    ] = None,
    before: Annotated[Path | None, typer.Option(help="An old model: what changed, and is it luck?")] = None,
    before_backbone: Annotated[str | None, typer.Option(help="Its network's name, for foreign weights.")] = None,
    thresholds: Annotated[
        Path | None, typer.Option(help="The JSON of an evaluation elsewhere: its thresholds, applied here.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="A list of pairs with folds, such as LFW's pairs.txt. Where identities tell of no pair beside it, its "
            "pairs are all there are."
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write report.html and report.json into this folder.")] = None,
    pictures: Annotated[bool, typer.Option(help="Show the worst pairs' pictures in the report.")] = True,
) -> None:
    """Measure TAR at FAR over all pairs, exactly: of a model, of embeddings, or of scores."""
    from facexfer.eval.report.verification_page import write_report
    from facexfer.eval.verification import check_fars
    from facexfer.measure.evaluate import Request, evaluate_comparison, evaluate_scores

    sources = {"--model": model, "--embeddings": embeddings, "--scores": scores}
    given = [option for option, value in sources.items() if value]
    if len(given) != 1:
        raise InputError(f"expected one of {', '.join(sources)}, got {' and '.join(given) or 'none'}; choose one")
    of_model = {
        "--manifest": manifest, "--backbone": backbone, "--split": split, "--probe": probe, "--gallery": gallery,
        "--slice-by": slice_by, "--before": before, "--before-backbone": before_backbone, "--pairs": pairs,
        "--flip": flip, "--failures": failures,
    }  # fmt: skip
    of_vectors = {
        "--labels": labels, "--gallery-embeddings": gallery_embeddings, "--gallery-labels": gallery_labels
    }  # fmt: skip
    _refuse_idle(given[0], of_model, "--model")
    _refuse_idle(given[0], of_vectors, "--embeddings")
    _refuse_idle(given[0], {"--distances": distances}, "--scores")
    _refuse_idle(given[0], {"--identify": identify, "--templates": templates}, "--model or --embeddings")
    _refuse_idle("--before" if before else "none", {"--before-backbone": before_backbone}, "--before")
    _refuse_idle("--report" if report else "none", {"--no-pictures": not pictures}, "--report")
    fars = tuple(far or _DEFAULT_FARS)
    check_fars(fars)
    known = _read_thresholds(thresholds, distances) if thresholds is not None else ()
    _check_outputs(json_file, report)
    shown = []
    if scores:
        if len(scores) > 2:
            raise InputError(f"expected one CSV or two .npy files after --scores, got {len(scores)}; genuine first")
        findings = evaluate_scores(
            read_scores(scores[0], scores[1] if len(scores) == 2 else None, distances), Request(fars, known)
        )
    elif embeddings is not None:
        comparison = _of_embeddings(embeddings, labels, gallery_embeddings, gallery_labels)
        findings = evaluate_comparison(comparison, Request(fars, known, identify, templates, device=_device()))
    else:
        assert model is not None
        if manifest is None:
            raise InputError("expected --manifest beside --model, got none; name the CSV that lists the crops")
        measured = _Model(manifest, split, probe, gallery, flip)
        request = Request(
            fars, known, identify, templates, tuple(slice_by or ()), *measured.failures(failures), _device()
        )
        findings = measured.evaluate((model, backbone), (before, before_backbone), request, pairs)
        if report is not None:
            shown = measured.worst(pictures)
    if json_file is not None:
        from facexfer.files.atomic import write_text

        write_text(json_file, json.dumps(findings_to_json(findings), indent=2, allow_nan=False) + "\n")
    if report is not None:
        write_report(report, findings, shown)
    _show(findings)


class _Model:
    """A model on the images of a manifest."""

    def __init__(self, manifest: Path, split: str | None, probe: str | None, gallery: str | None, flip: bool) -> None:
        from facexfer.data.manifest import read_manifest

        self._images = read_manifest(manifest).select(split=split)
        self._split, self._probe, self._gallery, self._flip = split, probe, gallery, flip
        self._listed: Any = None

    def failures(self, path: Path | None) -> tuple[Any, Any]:
        from facexfer.data.failures import read_failures, select_failures

        if path is None:
            return None, ()
        everything = read_failures(path)
        return (
            select_failures(everything, self._split, self._probe),
            select_failures(everything, self._split, self._gallery) if self._gallery is not None else (),
        )

    def evaluate(
        self, new: tuple[Path, str | None], old: tuple[Path | None, str | None], request: Any, listed: Path | None
    ) -> Findings:
        from dataclasses import replace

        from facexfer.data.pairs_file import read_pairs
        from facexfer.measure.evaluate import evaluate_comparison
        from facexfer.measure.listed import evaluate_list, list_defines_pairs
        from facexfer.measure.pair_sets import Comparison, compare, embed_side
        from facexfer.measure.questions import check_column, listed_accuracy

        chosen = self._images.select(modality=self._probe)
        for column in request.columns:
            check_column(chosen.images, column)
        pairs = read_pairs(listed, chosen, request.probe_failures or ()) if listed is not None else None
        embedder = self._open(*new)
        facts: dict[str, Any] = {
            "split": self._split,
            "model": {"name": embedder.name, "sha256": embedder.fingerprint},
            "data": {"images": len(self._images.images), "sha256": self._images.fingerprint()},
        }
        if pairs is not None and (lost := sum(None in (pair.first, pair.second) for pair in pairs)):
            facts["listed_pairs_with_a_failed_photo"] = lost
            typer.echo(f"{lost:,} of {len(pairs):,} listed pairs have a photo without a crop and count as rejects")
        if pairs is not None and list_defines_pairs(chosen.images, pairs):
            if self._gallery is not None or old[0] is not None:
                raise InputError(
                    "expected identities with several images for --gallery or --before, here only the list tells who "
                    "is who; leave them out"
                )
            side = embed_side(embedder, chosen)
            self._listed = side, pairs
            return evaluate_list(side, pairs, request, facts)
        self.comparison = compare(embedder, self._images, self._probe, self._gallery)
        before = visible = None
        if old[0] is not None:
            former = self._open(old[0], old[1])
            facts["old_model"] = {"name": former.name, "sha256": former.fingerprint}
            before = compare(former, self._images, self._probe, self._gallery)
            there = {image.modality for image in self._images.images}
            if _VISIBLE in there and there - {_VISIBLE} and self.comparison.name != _VISIBLE:
                seen = self._images.select(modality=_VISIBLE)
                visible = (
                    Comparison(_VISIBLE, embed_side(former, seen)),
                    Comparison(_VISIBLE, embed_side(embedder, seen)),
                )
        findings = evaluate_comparison(self.comparison, request, before, visible, facts)
        if pairs is None:
            return findings
        return replace(findings, folds=listed_accuracy(self.comparison.probe, pairs))

    def worst(self, pictures: bool) -> Any:
        from facexfer.measure.evaluate import show_worst
        from facexfer.measure.listed import show_worst_listed

        if self._listed is not None:
            side, pairs = self._listed
            return show_worst_listed(side, pairs, _SHOWN_PAIRS, pictures)
        return show_worst(self.comparison, _SHOWN_PAIRS, pictures)

    def _open(self, model: Path, backbone: str | None) -> Any:
        from facexfer.measure.embedder import FlipEmbedder, open_embedder

        embedder = open_embedder(model, backbone)
        return FlipEmbedder(embedder) if self._flip else embedder


def _of_embeddings(
    embeddings: Path, labels: Path | None, gallery_embeddings: Path | None, gallery_labels: Path | None
) -> Any:
    from facexfer.measure.pair_sets import Comparison

    if labels is None or (gallery_embeddings is None) != (gallery_labels is None):
        raise InputError("expected labels beside embeddings, one file is missing; give --labels or --gallery-labels")
    probe = _side(embeddings, labels)
    if gallery_embeddings is None or gallery_labels is None:
        return Comparison("embeddings", probe)
    return Comparison("gallery-probe", probe, _side(gallery_embeddings, gallery_labels))


def _side(embeddings: Path, labels: Path) -> Any:
    import numpy as np

    from facexfer.measure.pair_sets import Side

    vectors, names = read_array(embeddings), read_array(labels)
    if vectors.ndim != 2 or names.shape != vectors.shape[:1]:
        raise InputError(
            f"expected embeddings (N, D) and labels (N,), got {vectors.shape} in {embeddings} and {names.shape} in "
            f"{labels}; give one label a row"
        )
    return Side(vectors, names, np.full(len(names), None, dtype=object))


def _refuse_idle(source: str, options: dict[str, Any], needed: str) -> None:
    """Refuse options that would do nothing."""
    idle = [option for option, value in options.items() if value]
    if idle and source not in needed.split(" or "):
        came = f", got {source}" if source != "none" else ""
        raise InputError(f"expected {needed} beside {', '.join(idle)}{came}; leave {', '.join(idle)} out")


def _check_outputs(json_file: Path | None, report: Path | None) -> None:
    if json_file is not None and not json_file.parent.is_dir():
        raise InputError(f"{json_file}: expected an existing folder, {json_file.parent} is none; make it first")
    if json_file is not None and json_file.is_dir():
        raise InputError(f"{json_file}: expected a file after --json, got a folder; name a file in it")
    if report is not None and report.exists() and not report.is_dir():
        raise InputError(f"{report}: expected a folder after --report, got a file; name another")


def _read_thresholds(path: Path, distances: bool) -> tuple[tuple[float, float], ...]:
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
        points = figures["operating_points"]
        known = [(float(p["far"]), float(p["threshold"])) for p in points if p["threshold"] is not None]
        theirs = str(figures.get("accept", "")).startswith("distance")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected the JSON of an evaluation, got: {error}; write it with facexfer evaluate --json"
        ) from error
    if any(math.isnan(value) for point in known for value in point):
        raise InputError(
            f"{path}: expected thresholds that are numbers, got NaN; write it with facexfer evaluate --json"
        )
    if theirs != distances:
        kinds = ("similarities", "distances")
        raise InputError(
            f"{path}: expected thresholds of {kinds[distances]}, got thresholds of {kinds[theirs]}; both sets must be "
            "scored alike"
        )
    if not known:
        raise InputError(f"{path}: expected at least one threshold, got none; all its FARs are unsupported")
    return tuple(known)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _show(findings: Findings) -> None:
    console = Console()
    points = findings.points
    console.print(
        f"{points[0].genuine_pairs:,} genuine and {points[0].impostor_pairs:,} impostor pairs", highlight=False
    )
    interval = "alone" if points[0].identities is None else "people"
    table = Table(box=None, pad_edge=False)
    for name in ("FAR", "TAR, %", f"95 % {interval}", "Wilson", "threshold", "FAR got", "95 %"):
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
    console.print(table)
    for line in [point.remark for point in points if point.remark] + _lines(findings):
        console.print(line, highlight=False)


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
                verdict = "more than luck" if each.more_than_luck else "could be luck"
                lines.append(
                    f"new minus old{name} at FAR {each.far:g}: {100 * each.difference:+.2f} points "
                    f"({100 * each.ci95[0]:+.2f} to {100 * each.ci95[1]:+.2f}), {verdict}"
                )
    for target, point in findings.elsewhere:
        lines.append(
            f"the threshold chosen elsewhere for FAR {target:g}: here FAR {point.achieved_far:.3g}, "
            f"TAR {100 * (point.tar or 0):.2f} %"
        )
    return lines


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{100 * bounds[0]:.1f}-{100 * bounds[1]:.1f}"
