"""Measure a model, embeddings from any model, or scores: every question in one call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.data.manifest import Manifest
from facexfer.errors import InputError
from facexfer.eval.report.as_json import read_thresholds, write_json
from facexfer.eval.report.as_text import findings_to_text
from facexfer.eval.report.findings import Findings
from facexfer.eval.report.page import ShownPair
from facexfer.eval.report.verification_page import write_report
from facexfer.eval.score_files import read_scores
from facexfer.eval.verification import OperatingPoint, check_fars
from facexfer.measure.embed import embed_array
from facexfer.measure.embedder import Model, check_named, gallery_of, load, normalises_pixels
from facexfer.measure.evaluate import Request, evaluate_comparison, evaluate_scores
from facexfer.measure.faces import find_faces
from facexfer.measure.model import ImageChoice, MeasuredModel
from facexfer.measure.pair_sets import compare_arrays
from facexfer.measure.recommend import Door, write_into_bundle
from facexfer.runtime import best_device

Array = np.ndarray | str | Path
"""An array, or a ``.npy`` file of one."""
FARS = (1e-2, 1e-3, 1e-4)
SHOWN_PAIRS = 12

_SOURCES = ("model", "embeddings", "scores")
# What belongs to which source; with any other source it would do nothing.
_BELONGS = {
    "model": (
        "images", "backbone", "split", "probe", "gallery", "slice_by", "before", "before_backbone", "pairs", "flip",
        "failures", "gallery_model", "gallery_backbone", "input_mean", "input_std",
    ),
    "embeddings": ("labels", "gallery_embeddings", "gallery_labels"),
    "scores": ("distances",),
    "model or embeddings": ("identify", "templates", "extrapolate", "door"),
}  # fmt: skip
_NEEDS = {"before_backbone": "before", "gallery_model": "gallery", "gallery_backbone": "gallery_model"}


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found out; printed, it is its table.

    Attributes:
        findings: All of it.
        worst: (how many of a kind, with their pictures or not) -> the pairs that are decided wrongly first.
    """

    findings: Findings = field(repr=False)
    worst: Callable[[int, bool], list[ShownPair]] = field(default=lambda count, pictures: [], repr=False)

    @property
    def points(self) -> tuple[OperatingPoint, ...]:
        """One operating point a FAR, with ``.tar``, ``.tar_ci95``, ``.threshold`` and so on."""
        return self.findings.points

    def table(self) -> str:
        """Write what was found as text: what ``facexfer evaluate`` prints."""
        return findings_to_text(self.findings)

    def to_json(self) -> str:
        """Write what was found as JSON text: what ``facexfer evaluate --json`` writes."""
        return write_json(self.findings)

    def report(self, folder: str | Path, pictures: bool = True) -> None:
        """Write ``report.html`` and ``report.json``.

        Args:
            folder: Made if it is not there; other files in it stay.
            pictures: Whether the worst pairs' pictures are shown; they are biometric data.

        Raises:
            InputError: If the folder cannot be made or written.
        """
        write_report(Path(folder), self.findings, self.worst(SHOWN_PAIRS, pictures))

    def __str__(self) -> str:
        return self.table()


def evaluate(
    model: Model | None = None,
    images: str | Path | Manifest | np.ndarray | None = None,
    *,
    backbone: str | None = None,
    split: str | None = None,
    probe: str | None = None,
    gallery: str | None = None,
    gallery_model: Model | None = None,
    gallery_backbone: str | None = None,
    embeddings: Array | None = None,
    labels: Array | None = None,
    gallery_embeddings: Array | None = None,
    gallery_labels: Array | None = None,
    scores: Sequence[Array] | None = None,
    distances: bool = False,
    fars: Sequence[float] = FARS,
    flip: bool = False,
    templates: bool = False,
    identify: bool = False,
    slice_by: Sequence[str] = (),
    failures: str | Path | None = None,
    before: Model | None = None,
    before_backbone: str | None = None,
    thresholds: str | Path | None = None,
    pairs: str | Path | None = None,
    extrapolate: Sequence[float] = (),
    door: Door | None = None,
    input_mean: float | Sequence[float] | None = None,
    input_std: float | Sequence[float] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Measure TAR at FAR over all pairs, exactly: of a model on images, of embeddings, or of scores.

    Args:
        model: Whatever `facexfer.load` opens.
        images: A manifest, a folder of crops (of `facexfer.prepare`, or with a folder per identity), or crops
            (N, H, W, 3) uint8 RGB with their `labels`.
        backbone: The network's name, for foreign weights.
        split: Take this split of the manifest.
        probe: Modality of the probes; alone: pairs within it.
        gallery: Modality of the gallery; its pairs are those with a probe.
        gallery_model: The gallery's own model, where `model` embeds the probes alone: people who are enrolled stay so;
            of a bundle that has one its own, unless `before` is given.
        gallery_backbone: Its network's name, for foreign weights.
        embeddings: (N, D), of any length, instead of a model.
        labels: (N,) of the embeddings, or of crops in an array: equal for one person.
        gallery_embeddings: (G, D) that the others are compared with instead of among themselves.
        gallery_labels: (G,) of these.
        scores: Genuine and impostor scores, or one CSV with the columns ``score`` and ``same``.
        distances: The scores are distances: lower is alike.
        fars: False accept rates, as fractions.
        flip: Add the embedding of the mirrored crop.
        templates: Enrol the mean of half of each identity's captures.
        identify: Look people up: rank 1, CMC, open set.
        slice_by: Figures by each value of these columns of the manifest.
        failures: CSV of photos without a crop; they count as rejects, reported separately.
        before: An old model: what changed, and is it significant?
        before_backbone: Its network's name, for foreign weights.
        thresholds: The JSON of an evaluation elsewhere: its thresholds, applied here.
        pairs: A list of pairs with folds, such as LFW's ``pairs.txt``. Where identities say nothing of other pairs, its
            pairs are all there are.
        extrapolate: False accept rates below what the pairs support: extreme value theory on the impostor tail, never
            mixed with what is measured.
        door: How the network will be used: recommend a threshold for it.
        input_mean: Of ONNX files that do not normalise pixels themselves, as in `facexfer.load`, `before` and
            `gallery_model` among them.
        input_std: Likewise.
        say: Shows a line about what is left out.

    Returns:
        What was found: ``.points``, ``.table()``, ``.to_json()``, ``.report(folder)``.

    Raises:
        InputError: If not exactly one of model, embeddings and scores is given, something is given that would do
            nothing, an input is unfit, or a question has no answer for these images.

    Example:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
        >>> found = evaluate(embeddings=embeddings, labels=np.array([0, 0, 1, 1]), fars=[0.25])
        >>> found.points[0].tar
        1.0
        >>> print(found.table().splitlines()[0])
        2 genuine and 4 impostor pairs
    """
    check_arguments(locals())
    targets = tuple(dict.fromkeys(map(float, fars)))
    check_fars(targets)
    beyond = tuple(map(float, extrapolate))
    if beyond:
        check_fars(beyond)
    known = read_thresholds(Path(thresholds), distances) if thresholds is not None else ()
    if scores is not None:
        if not 1 <= len(scores) <= 2:
            raise InputError(f"expected one CSV, or genuine and impostor scores, got {len(scores)}; genuine first")
        read = read_scores(scores[0], scores[1] if len(scores) == 2 else None, distances)
        return Evaluation(evaluate_scores(read, Request(targets, known)))
    if model is not None and gallery is not None and gallery_model is None and before is None:
        gallery_model = gallery_of(model)
    models = [(model, backbone), (before, before_backbone), (gallery_model, gallery_backbone)]
    for (each, name), option in zip(models, ("--backbone", "--before-backbone", "--gallery-backbone"), strict=True):
        check_named(each, name, option)
    if input_mean is not None or input_std is not None:
        models = _normalised(models, input_mean, input_std)
    (model, backbone), old, enrolled = models
    if isinstance(images, np.ndarray):
        assert model is not None
        embeddings = embed_array(load(model, backbone, flip=flip), images)
    if embeddings is not None:
        comparison = compare_arrays(embeddings, labels, gallery_embeddings, gallery_labels)
        request = Request(targets, known, identify, templates, device=best_device(), extrapolate=beyond, door=door)
        return Evaluation(evaluate_comparison(comparison, request))
    assert model is not None
    assert isinstance(images, str | Path | Manifest)
    measured = MeasuredModel(ImageChoice(find_faces(images), split, probe, gallery), flip, say)
    lost = measured.failures(None if failures is None else Path(failures))
    request = Request(targets, known, identify, templates, tuple(slice_by), *lost, best_device(), beyond, door)
    listed = None if pairs is None else Path(pairs)
    findings = measured.evaluate((model, backbone), old, request, listed, enrolled)
    return Evaluation(findings, measured.worst)


def _normalised(
    models: Sequence[tuple[Model | None, str | None]],
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
) -> list[tuple[Model | None, str | None]]:
    """Open those models that leave it to others to normalise pixels; the first, if none does, so that it says so."""
    is_raw = [model is not None and not normalises_pixels(model, backbone) for model, backbone in models]
    if not any(is_raw):
        is_raw[0] = True
    return [
        (load(model, backbone, input_mean=mean, input_std=std), None)
        if raw and model is not None
        else (model, backbone)
        for raw, (model, backbone) in zip(is_raw, models, strict=True)
    ]


def recommend_into(bundle: str | Path, found: Evaluation) -> None:
    """Put an evaluation's recommended threshold into the ``model.json`` of the bundle that was measured.

    What it was found on goes in with it, under ``measured``: the pairs, the pictures, their split and the caveats.

    Args:
        bundle: The folder.
        found: Of its network, with a door.

    Raises:
        InputError: If it is no bundle, another network was measured, or no threshold was asked for.
    """
    findings = found.findings
    advice, model = findings.facts.get("recommendation"), findings.facts.get("model")
    if advice is None or model is None:
        raise InputError(f"{bundle}: expected an evaluation of the bundle with a door, got another; give door")
    measured = {
        "comparison": findings.comparison, "data": findings.facts["data"]["sha256"], "split": findings.facts["split"],
        "caveats": list(findings.caveats),
    }  # fmt: skip
    write_into_bundle(Path(bundle), {**advice, "measured": measured}, model["sha256"])


def check_arguments(given: Mapping[str, Any], spell: Callable[[str], str] = str) -> None:
    """Refuse what `evaluate` cannot do, and what would do nothing.

    Args:
        given: Its arguments by name; None, False and nothing in it are not given.
        spell: How the user calls an argument: the command's options have dashes.

    Raises:
        InputError: If not exactly one source is given, or something that it does not use.

    Example:
        >>> check_arguments({"scores": ["a.npy", "b.npy"], "identify": True})
        Traceback (most recent call last):
        facexfer.errors.InputError: expected model or embeddings with identify, got scores; leave identify out
    """
    sources = [name for name in _SOURCES if _is_given(given.get(name))]
    if len(sources) != 1:
        listed = ", ".join(map(spell, _SOURCES))
        raise InputError(f"expected one of {listed}, got {' and '.join(map(spell, sources)) or 'none'}; choose one")
    is_of_arrays = isinstance(given.get("images"), np.ndarray)
    for needed, names in _BELONGS.items():
        if sources[0] in needed.split(" or "):
            continue
        idle = [spell(name) for name in names if _is_given(given.get(name)) and not (name == "labels" and is_of_arrays)]
        if idle:
            wanted = " or ".join(map(spell, needed.split(" or ")))
            raise InputError(
                f"expected {wanted} with {', '.join(idle)}, got {spell(sources[0])}; leave {', '.join(idle)} out"
            )
    for name, needed in _NEEDS.items():
        if _is_given(given.get(name)) and not _is_given(given.get(needed)):
            raise InputError(f"expected {spell(needed)} with {spell(name)}; leave {spell(name)} out")
    if _is_given(given.get("gallery_model")) and _is_given(given.get("before")):
        first, second = spell("gallery_model"), spell("before")
        raise InputError(
            f"expected one of {first} and {second}, got both; {second} measures the old gallery with new probes too"
        )
    if sources[0] == "model" and given.get("images") is None:
        raise InputError(
            f"expected {spell('images')} with {spell('model')}, got none; name the CSV that lists the crops"
        )
    if is_of_arrays:
        _check_array_of_crops(given, spell)


def _check_array_of_crops(given: Mapping[str, Any], spell: Callable[[str], str]) -> None:
    of_manifest = set(_BELONGS["model"]) - {"images", "backbone", "flip"}
    idle = [spell(name) for name in sorted(of_manifest) if _is_given(given.get(name))]
    if idle:
        raise InputError(f"expected a manifest with {', '.join(idle)}, got an array; leave {', '.join(idle)} out")
    if given.get("labels") is None:
        raise InputError(f"expected {spell('labels')} with an array of crops, got none; give one per crop")


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and not (isinstance(value, list | tuple | str) and not value)
