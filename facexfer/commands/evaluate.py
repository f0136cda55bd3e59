"""``facexfer evaluate``: measure a model, embeddings from any model, or scores."""

from pathlib import Path
from typing import Annotated, Any

import typer

from facexfer.commands.outputs import check_outputs
from facexfer.errors import InputError
from facexfer.files.atomic import write_text


def evaluate(
    model: Annotated[
        Path | None, typer.Option(help="A run folder, a checkpoint, an ONNX file, or weights together with --backbone.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="The network's name, for weights that are not facexfer's.")
    ] = None,
    input_mean: Annotated[
        list[float] | None,
        typer.Option(
            help="What ONNX files that do not normalise pixels themselves (--model, --before, --gallery-model) want "
            "subtracted from them: grey levels, one number or three; mostly 127.5."
        ),
    ] = None,
    input_std: Annotated[
        list[float] | None, typer.Option(help="What they are then divided by; mostly 127.5 or 128.")
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="The images: an images.csv.")] = None,
    split: Annotated[str | None, typer.Option(help="Use only this split of the manifest.")] = None,
    probe: Annotated[
        str | None, typer.Option(help="Modality of the probes; without --gallery, pairs within it.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Of a bundle: measure its file for this runtime, such as openvino.")
    ] = None,
    gallery: Annotated[str | None, typer.Option(help="Modality of the gallery.")] = None,
    gallery_model: Annotated[
        Path | None, typer.Option(help="The model that embedded the gallery; --model then embeds only the probes.")
    ] = None,
    gallery_backbone: Annotated[
        str | None, typer.Option(help="Its network's name, for weights that are not facexfer's.")
    ] = None,
    embeddings: Annotated[Path | None, typer.Option(help="Embeddings (N, D), .npy.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Their labels (N,), .npy.")] = None,
    gallery_embeddings: Annotated[
        Path | None, typer.Option(help="Embeddings of a gallery (G, D) to compare with, .npy.")
    ] = None,
    gallery_labels: Annotated[Path | None, typer.Option(help="Their labels (G,), .npy.")] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            help="Genuine and impostor scores, two .npy or text files; or one CSV with the columns score and same."
        ),
    ] = None,
    distances: Annotated[
        bool, typer.Option("--distances", help="The scores are distances: lower means more alike.")
    ] = False,
    far: Annotated[
        list[float] | None, typer.Option(help="False accept rates, as fractions. Default: 1e-2 1e-3 1e-4.")
    ] = None,
    extrapolate: Annotated[
        list[float] | None,
        typer.Option(help="False accept rates below what the pairs support: extrapolated, and marked as such."),
    ] = None,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Recommend a threshold for a door that is used as the next options say.")
    ] = False,
    daily_attempts: Annotated[
        float | None, typer.Option(help="With --recommend: attempts per day, by all users.")
    ] = None,
    impostor_share: Annotated[
        float | None, typer.Option(help="With --recommend: the share of attempts by impostors, such as 0.01.")
    ] = None,
    max_false_accepts_per_year: Annotated[
        float | None, typer.Option(help="With --recommend: false accepts per year that you can tolerate.")
    ] = None,
    gallery_size: Annotated[
        int | None, typer.Option(help="With --recommend: people who are looked up (1:N). Default: one person (1:1).")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="With --recommend: a bundle whose model.json gets the recommendation.")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Add the embedding of the mirrored crop.")] = False,
    templates: Annotated[
        bool, typer.Option("--templates", help="Enrol the mean of half of each identity's captures.")
    ] = False,
    identify: Annotated[bool, typer.Option("--identify", help="Look people up: rank 1, CMC, open set.")] = False,
    slice_by: Annotated[
        list[str] | None, typer.Option(help="Figures for each value of these manifest columns.")
    ] = None,
    failures: Annotated[
        Path | None,
        typer.Option(help="The failures.csv of prepare: its photos count as rejects, in figures of their own."),
    ] = None,
    before: Annotated[
        Path | None, typer.Option(help="An older model: what has changed, and is the change significant?")
    ] = None,
    before_backbone: Annotated[
        str | None, typer.Option(help="The older model's network, for weights that are not facexfer's.")
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(help="JSON of an evaluation on other data; its thresholds are applied here.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="A list of pairs with folds, such as LFW's pairs.txt. If the manifest names no identities, only these "
            "pairs are compared."
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write report.html and report.json into this folder.")] = None,
    pictures: Annotated[bool, typer.Option(help="Show the pictures of the worst pairs in the report.")] = True,
    plugin: Annotated[
        list[Path] | None, typer.Option(help="A Python file with a metric of your own. Repeatable.")
    ] = None,
) -> None:
    """Measure TAR at FAR, exactly over all pairs, for a model, for embeddings or for scores."""
    from facexfer.measure import evaluation
    from facexfer.measure.faces import MANIFEST
    from facexfer.plugins import load_plugins
    from facexfer.runs.origin import files_behind

    load_plugins(plugin or ())
    arguments: dict[str, Any] = {
        "model": model, "images": manifest, "backbone": backbone, "split": split, "probe": probe, "gallery": gallery,
        "embeddings": embeddings, "labels": labels, "gallery_embeddings": gallery_embeddings,
        "gallery_labels": gallery_labels, "scores": scores, "distances": distances,
        "fars": far or evaluation.FARS, "flip": flip, "templates": templates, "identify": identify,
        "slice_by": slice_by or (), "failures": failures, "before": before, "before_backbone": before_backbone,
        "thresholds": thresholds, "pairs": pairs, "gallery_model": gallery_model, "gallery_backbone": gallery_backbone,
        "extrapolate": extrapolate or (), "input_mean": input_mean, "input_std": input_std,
        "door": _door(recommend, daily_attempts, impostor_share, max_false_accepts_per_year, gallery_size, into),
    }  # fmt: skip
    evaluation.check_arguments(arguments, _as_option)
    if not pictures and report is None:
        raise InputError("expected --report with --no-pictures; leave --no-pictures out")
    models = [each for each in (model, before, gallery_model) if each is not None]
    read = (
        manifest, embeddings, labels, gallery_embeddings, gallery_labels, failures, thresholds, pairs,
        None if manifest is None else manifest / MANIFEST, *(scores or ()), *(plugin or ()), *models,
        *(file for each in models for file in files_behind(each)),
    )  # fmt: skip
    # A file of a bundle belongs to it as the folder does.
    folders = [each.parent if each.is_file() else each for each in models]
    check_outputs(json_file, report, read, [each for each in folders if (each / "model.json").is_file()])
    if into is not None:
        _check_into(into, arguments, runtime)
    if runtime is not None:
        from facexfer.deploy.runtime_files import open_runtime
        from facexfer.measure.embedder import gallery_of

        if model is None:
            raise InputError("expected a bundle after --model with --runtime, got none; name the bundle")
        if gallery is not None and (gallery_model or before) is None:
            arguments["gallery_model"] = gallery_of(model)
        arguments["model"] = open_runtime(model, runtime)
    found = evaluation.evaluate(**arguments, say=typer.echo)
    typer.echo(found.table())  # before anything that may fail
    if json_file is not None:
        write_text(json_file, found.to_json())
    if report is not None:
        found.report(report, pictures)
    if into is not None:
        evaluation.recommend_into(into, found)
        advice = found.findings.facts["recommendation"]
        typer.echo(f"Written: {into / 'model.json'}. match and monitor go on deciding by the bundle's own threshold")
        if not advice["is_extrapolated"] and _is_measured_as(into, found.findings):
            typer.echo(f"To make it this one: facexfer export RUN --out NEW --far {advice['far']}")


def _door(
    recommend: bool,
    attempts: float | None,
    share: float | None,
    accepts: float | None,
    gallery_size: int | None,
    into: Path | None,
) -> Any:
    """Read how the door is used; None where no threshold is asked for."""
    from facexfer.measure.recommend import Door

    given = {
        "--daily-attempts": attempts, "--impostor-share": share, "--max-false-accepts-per-year": accepts,
    }  # fmt: skip
    if not recommend:
        others = {**given, "--gallery-size": gallery_size, "--into": into}
        idle = ", ".join(name for name, value in others.items() if value is not None)
        if idle:
            raise InputError(f"expected --recommend with {idle}; add it, or leave {idle} out")
        return None
    missing = ", ".join(name for name, value in given.items() if value is None)
    if attempts is None or share is None or accepts is None:
        raise InputError(f"expected {missing} with --recommend, got none; say how the door is used")
    return Door(attempts, share, accepts, gallery_size)


def _check_into(bundle: Path, given: dict[str, Any], runtime: str | None) -> None:
    """Refuse what would put another threshold into a bundle than that of its own files."""
    from facexfer.deploy.contract import CONTRACT, read_contract

    if not (bundle / CONTRACT).is_file():
        raise InputError(f"{bundle}: expected a bundle after --into, got none; facexfer export makes one")
    if given["flip"]:
        raise InputError("expected no --flip with --into, since a bundle's file adds the mirrored crop itself or never")
    if given["model"] is None:
        raise InputError("expected the bundle after --model with --into, got embeddings; measure its own network")
    if given["templates"]:
        raise InputError("expected no --templates with --into, since a bundle decides by single crops; leave it out")
    if runtime is not None:
        raise InputError(f"expected model.onnx to be measured with --into, got --runtime {runtime}; leave it out")
    contract = read_contract(bundle)
    _check_measured(contract, given["model"])
    _check_gallery(contract, given)


def _check_measured(contract: Any, model: Path) -> None:
    """Refuse another network than the bundle's, before anything is measured."""
    from facexfer.deploy.contract import MODEL
    from facexfer.files.digest import file_digest

    file = model / MODEL if model.is_dir() else model
    if not file.is_file() or file_digest(file) != contract.content.get("sha256"):
        raise InputError(
            f"{model}: expected the bundle's own network with --into, got another; give --model {contract.folder}"
        )


def _check_gallery(contract: Any, given: dict[str, Any]) -> None:
    """Refuse another network for those who are enrolled than the bundle's."""
    from facexfer.files.digest import file_digest
    from facexfer.measure.embedder import gallery_of

    bundle, own, used = contract.folder, contract.gallery, given["gallery_model"]
    if used is None and given["gallery"] is not None and given["before"] is None:
        used = gallery_of(given["model"])
    if own is None:
        if used is not None:
            raise InputError(f"{used}: expected the gallery's network of {bundle}, got another; leave it out")
        return
    if given["gallery"] is None:
        raise InputError(f"{bundle}: expected --gallery with --into, got none; people are enrolled by {own.name}")
    contract.check_files([own.name])
    if used is None or not used.is_file() or file_digest(used) != file_digest(own):
        got = "--before" if given["before"] is not None else used or "none"
        raise InputError(
            f"{bundle}: expected the bundle's own network of the gallery with --into, got {got}; give --gallery-model "
            f"{own}"
        )


def _is_measured_as(bundle: Path, findings: Any) -> bool:
    """Whether these are the pairs of the bundle's own thresholds; of others, export finds no such threshold."""
    from facexfer.deploy.contract import read_contract

    own = read_contract(bundle).content["evaluation"]
    return (own.get("data"), own.get("comparison")) == (findings.facts["data"]["sha256"], findings.comparison)


def _as_option(argument: str) -> str:
    return "--manifest" if argument == "images" else f"--{argument.replace('_', '-')}"
