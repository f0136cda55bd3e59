"""``facexfer evaluate``: what a model, anybody's embeddings, or anybody's scores are worth."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from facexfer.commands.show_findings import show_findings
from facexfer.errors import InputError
from facexfer.eval.report.as_json import findings_to_json, read_thresholds
from facexfer.eval.score_files import read_scores
from facexfer.files.atomic import write_text

_DEFAULT_FARS = [1e-2, 1e-3, 1e-4]
_SHOWN_PAIRS = 12


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
    before: Annotated[Path | None, typer.Option(help="An old model: what changed, and is it significant?")] = None,
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
    plugin: Annotated[
        list[Path] | None, typer.Option(help="A Python file with a metric of your own. May come again.")
    ] = None,
) -> None:
    """Measure TAR at FAR over all pairs, exactly: of a model, of embeddings, or of scores."""
    from facexfer.eval.report.verification_page import write_report
    from facexfer.eval.verification import check_fars
    from facexfer.measure.evaluate import Request, evaluate_comparison, evaluate_scores
    from facexfer.measure.model import ImageChoice, MeasuredModel
    from facexfer.measure.pair_sets import compare_arrays
    from facexfer.plugins import load_plugins
    from facexfer.runtime import best_device

    load_plugins(plugin or ())
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
    known = read_thresholds(thresholds, distances) if thresholds is not None else ()
    _check_outputs(json_file, report)
    shown = []
    if scores:
        if len(scores) > 2:
            raise InputError(f"expected one CSV or two .npy files after --scores, got {len(scores)}; genuine first")
        findings = evaluate_scores(
            read_scores(scores[0], scores[1] if len(scores) == 2 else None, distances), Request(fars, known)
        )
    elif embeddings is not None:
        comparison = compare_arrays(embeddings, labels, gallery_embeddings, gallery_labels)
        findings = evaluate_comparison(comparison, Request(fars, known, identify, templates, device=best_device()))
    else:
        assert model is not None
        if manifest is None:
            raise InputError("expected --manifest beside --model, got none; name the CSV that lists the crops")
        measured = MeasuredModel(ImageChoice(manifest, split, probe, gallery), flip, typer.echo)
        request = Request(
            fars, known, identify, templates, tuple(slice_by or ()), *measured.failures(failures), best_device()
        )
        findings = measured.evaluate((model, backbone), (before, before_backbone), request, pairs)
        if report is not None:
            shown = measured.worst(_SHOWN_PAIRS, pictures)
    if json_file is not None:
        write_text(json_file, json.dumps(findings_to_json(findings), indent=2, allow_nan=False) + "\n")
    if report is not None:
        write_report(report, findings, shown)
    show_findings(findings)


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
