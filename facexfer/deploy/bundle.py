"""The bundle: an ONNX file, its contract, its thresholds, and the evaluation that they come from."""

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule
from facexfer.data.manifest import read_manifest
from facexfer.data.pictures.depths import find_depths
from facexfer.data.preparation.detect import find_detector
from facexfer.deploy.calibration import calibration_crops
from facexfer.deploy.contract import (
    CONTRACT,
    DETECTOR,
    GALLERY,
    MODEL,
    choose_point,
    write_pack_manifest,
)
from facexfer.deploy.gate import TOLERANCES, GateData, GateRow, Tolerance, measure
from facexfer.deploy.onnx_export import INPUT, check_form, export_onnx, preprocessing
from facexfer.deploy.quantize import PRECISIONS, write_precision
from facexfer.deploy.readme import write_readme
from facexfer.deploy.runtime_files import RuntimeFile, describe
from facexfer.deploy.runtime_gate import convert_all, make_original, measure_runtime, recommendation
from facexfer.deploy.runtimes import Choice, choose_runtime
from facexfer.deploy.score_summary import summary_of
from facexfer.errors import InputError, RunError
from facexfer.eval.report.as_json import findings_to_json
from facexfer.eval.report.verification_page import write_report
from facexfer.eval.scores import operating_points
from facexfer.eval.verification import OperatingPoint
from facexfer.files.atomic import write_text
from facexfer.files.digest import file_digest
from facexfer.measure.embedder import Embedder, OnnxEmbedder, load
from facexfer.measure.evaluate import Request, evaluate_comparison
from facexfer.measure.pair_sets import Comparison
from facexfer.measure.providers import CPU
from facexfer.recipe import PairsSection, Recipe, read_recipe
from facexfer.runs.face_images import training_and_validation, validation_images
from facexfer.runs.folder import RunFolder, load_backbone


@dataclass(frozen=True)
class Order:
    """What kind of bundle is wanted.

    Attributes:
        precisions: The first is the shipped file's; the others must pass the gate too.
        far: The FAR by whose threshold the bundle decides; None leaves it to `choose_point`.
        opset: Of ONNX's operators; None takes the exporter's own.
        batch: A fixed number of images; None leaves it free.
        largest_loss: TAR that may be lost, as a fraction; None takes that of `TOLERANCES`.
        detector: A detector of InsightFace's form that is put in, for its ``FaceAnalysis``.
        runtimes: Other runtimes that a file is put in for, such as ``openvino`` or ``openvino:int8``.
        gallery: The network that embeds those who are enrolled, where that is not the run's.
        flip: Whether the files add the embedding of the mirrored crop, the gallery's too.
    """

    precisions: tuple[str, ...] = ("fp32",)
    far: float | None = None
    opset: int | None = None
    batch: int | None = None
    largest_loss: float | None = None
    detector: Path | None = None
    runtimes: tuple[str, ...] = ()
    gallery: BackboneModule | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        check_form(self.opset, self.batch)
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise InputError(f"unknown precision '{precision}'; precisions: {', '.join(PRECISIONS)}")
        self.choices()
        if self.far is not None and not 0 < self.far < 1:
            raise InputError(
                f"expected a FAR between 0 and 1 to decide by, got {self.far:g}; give a fraction such as 1e-3"
            )
        if self.largest_loss is not None and not 0 <= self.largest_loss <= 1:
            raise InputError(f"expected a loss of TAR as a fraction from 0 to 1, got {self.largest_loss:g}")
        if self.detector is not None and not self.detector.is_file():
            raise InputError(f"{self.detector}: expected a detector's ONNX file, found none; check the path")
        if self.detector is not None and find_detector(str(self.detector)).form != "insightface":
            raise InputError(
                f"{self.detector}: expected a detector of InsightFace's form for its FaceAnalysis, got YuNet's; take "
                "det_500m.onnx or the like, or leave it out"
            )

    def choices(self) -> list[Choice]:
        """The other runtimes with their precisions, each once.

        Raises:
            InputError: If there is no such runtime, or it has no such precision.
        """
        return list({choice.name: choice for choice in map(choose_runtime, self.runtimes)}.values())

    def tolerance(self, precision: str) -> Tolerance:
        """The tolerances for a precision."""
        usual = TOLERANCES[precision]
        return usual if self.largest_loss is None else replace(usual, loss=self.largest_loss)


def make_bundle(
    run: Path,
    out: Path,
    order: Order,
    say: Callable[[GateRow], None],
    say_runtime: Callable[[RuntimeFile], None] = lambda file: None,
) -> None:
    """Export a run, compare each file with the run, and write the bundle if all pass.

    Args:
        run: A finished run.
        out: The folder to make.
        order: What kind of bundle.
        say: Called with each row of the gate as it is measured.
        say_runtime: Called with each other runtime's file as it is measured.

    Raises:
        InputError: If the run is not finished or names no FAR below 1, the folder already exists, a runtime's library
            is missing or cannot run the network, or the order does not fit.
        RunError: If a file is worse than the tolerance; no bundle is written then.
    """
    if out.exists():
        raise InputError(f"{out}: expected a new folder, it already exists; remove it or give another --out")
    network, recipe = load_backbone(run), read_recipe(RunFolder(run).recipe_file)
    if recipe.data.manifest is None:
        raise InputError(f"{run}: expected a run on faces, got task '{recipe.task}'; export a single .onnx file of it")
    if order.gallery is not None and order.gallery.info.input_size != network.info.input_size:
        (height, width), (other_height, other_width) = network.info.input_size, order.gallery.info.input_size
        raise InputError(
            f"expected a gallery's network that takes {height}x{width} crops as the run's does, got one that takes "
            f"{other_height}x{other_width}; one bundle has one size of crop"
        )
    manifest, pairs = read_manifest(recipe.data.manifest), _pairs(run, recipe, order)
    images = validation_images(manifest, recipe.data)
    # People who have come into the validation set since may be those that the run was trained on.
    RunFolder(run).check_data({"validation": images.fingerprint()}, "export with the manifest as it was")
    fars = _targets(run, recipe, order)
    data = GateData(images, pairs, fars, None if order.gallery is None else load(order.gallery, flip=order.flip))
    measured = data.compare(load(run, flip=order.flip))
    choose_point(operating_points(measured.pairs(), fars), order.far)  # an unsupported FAR is an error before the work
    calibration = functools.cache(
        lambda: calibration_crops(training_and_validation(manifest, recipe.data)[0], network.info.input_size)
    )
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        place = Path(name)
        if order.gallery is not None:
            export_onnx(order.gallery, place / GALLERY, order.opset, order.batch, order.flip)
            data = replace(data, gallery=OnnxEmbedder(place / GALLERY))
        exported = place / "fp32.onnx"
        export_onnx(network, exported, order.opset, order.batch, order.flip)
        original = make_original(network, exported, order.batch, order.flip, calibration)
        converted = convert_all(order.choices(), original, place, data.crop)
        rows, shipped = _measure_precisions(order, exported, calibration, measured, data, say)
        files = _measure_runtimes(order, converted, place, measured, data, network.info.input_size, say_runtime)
        gated = [*rows, *(each.row for each in files if each.row is not None)]
        if problems := [problem for row in gated for problem in row.problems]:
            raise RunError(f"{'; '.join(problems)}; no bundle was written: {_way_out(gated)}")
        facts: dict[str, Any] = {"model": out.name, "data": images.fingerprint(), "split": recipe.data.val_split}
        depths = find_depths(images.images)
        if depths.text:
            facts["bits"] = depths.read_as()
        findings = evaluate_comparison(shipped, Request(tuple(fars)), facts=facts)
        recommended = _recommend(order, files, place, data.crop, network.info.input_size)
        folder = place / out.name
        _fill(folder, place, order, files)
        write_report(folder / "report", findings)
        point = choose_point(findings.points, order.far)
        contract = _contract(folder, order, network.info, recipe, rows, findings_to_json(findings), point)
        contract["pairs"] = pairs.model_dump()
        contract["scores"] = summary_of(shipped.pairs(), findings.curve, findings.points)
        contract["runtimes"] = [describe(each, folder) for each in files]
        contract["recommended"] = recommended
        _write_papers(folder, out.name, contract)
        os.replace(folder, out)


def _measure_precisions(
    order: Order,
    exported: Path,
    calibration: Callable[[], np.ndarray],
    measured: Comparison,
    data: GateData,
    say: Callable[[GateRow], None],
) -> tuple[list[GateRow], Comparison]:
    """Write ``model.onnx`` in each precision and hold it against the run; the pairs are those of the shipped one."""
    rows: list[GateRow] = []
    comparisons: list[Comparison] = []
    for precision in order.precisions:
        file = exported.with_name(f"{precision}.onnx")
        if file != exported:
            write_precision(precision, exported, file, calibration)
        row, comparison = measure(precision, file, measured, data, order.tolerance(precision))
        say(row)
        rows.append(row)
        comparisons.append(comparison)
    return rows, comparisons[0]


def _measure_runtimes(
    order: Order,
    converted: Sequence[RuntimeFile],
    place: Path,
    measured: Comparison,
    data: GateData,
    input_size: tuple[int, int],
    say: Callable[[RuntimeFile], None],
) -> list[RuntimeFile]:
    """Hold each runtime's file against the run."""
    files = []
    for file in converted:
        files.append(measure_runtime(file, place, measured, data, order.tolerance(file.precision), input_size))
        say(files[-1])
    return files


def _recommend(
    order: Order, files: Sequence[RuntimeFile], place: Path, crop: Path, input_size: tuple[int, int]
) -> dict[str, Any]:
    """Which of the bundle's files suits a machine like this one; of the precisions only the first is in it."""
    shipped = order.precisions[0]
    embedders: dict[str, Embedder] = {f"onnxruntime:{shipped}": OnnxEmbedder(place / f"{shipped}.onnx", CPU)}
    embedders |= {each.name: each.open(place, input_size) for each in files if each.row is not None}
    return recommendation(embedders, crop)


def _way_out(rows: Sequence[GateRow]) -> str:
    """What to do about files that the gate refuses."""
    refused = [row for row in rows if row.problems]
    names = " and ".join(row.precision for row in refused)
    advice = f"leave {names} out of --precision and --runtime, or take another runtime such as openvino:int8"
    if any(row.embeds_otherwise for row in refused):
        return f"{advice}; --max-loss allows a loss of TAR alone, not other embeddings"
    return f"{advice}, or allow more by --max-loss"


def _targets(run: Path, recipe: Recipe, order: Order) -> list[float]:
    """The FARs of the recipe and of the order, but for 1: everybody is accepted there, and no threshold does it."""
    wanted = [*recipe.evaluation.fars, *([] if order.far is None else [order.far])]
    fars = list(dict.fromkeys(far for far in wanted if far < 1))
    if not fars:
        raise InputError(f"{run}: expected a FAR below 1 in evaluation.fars, got 1 alone; add --far 1e-3, for example")
    return fars


def _pairs(run: Path, recipe: Recipe, order: Order) -> PairsSection:
    """The pairs that decide: the recipe's first, or the first with a gallery where that has its own network."""
    if order.gallery is None:
        return recipe.evaluation.pairs[0]
    for pairs in recipe.evaluation.pairs:
        if pairs.gallery is not None:
            return pairs
    raise InputError(
        f"{run}: expected evaluation.pairs with a gallery for a gallery's own network, got none; train with "
        '--set \'evaluation.pairs=[{ gallery = "vis", probe = "nir" }]\''
    )


def _fill(folder: Path, place: Path, order: Order, files: Sequence[RuntimeFile]) -> None:
    """Move what was measured into the bundle's folder."""
    folder.mkdir()
    shutil.copyfile(place / f"{order.precisions[0]}.onnx", folder / MODEL)
    if order.gallery is not None:
        shutil.move(place / GALLERY, folder / GALLERY)
    if order.detector is not None:
        shutil.copyfile(order.detector, folder / DETECTOR)
    for name in {name for each in files for name in each.files}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(place / name, folder / name)


def _write_papers(folder: Path, name: str, contract: dict[str, Any]) -> None:
    papers = {
        CONTRACT: json.dumps(contract, indent=2, allow_nan=False) + "\n",
        "README.md": write_readme(name, contract),
        **write_pack_manifest(name, folder, contract),
    }
    for file, text in papers.items():
        write_text(folder / file, text)


def _contract(
    folder: Path,
    order: Order,
    info: BackboneInfo,
    recipe: Recipe,
    rows: list[GateRow],
    evaluation: dict[str, Any],
    point: OperatingPoint | None,
) -> dict[str, Any]:
    return {
        "file": MODEL,
        "sha256": file_digest(folder / MODEL),
        "precision": order.precisions[0],
        "input": {"name": INPUT, "shape": [order.batch or "N", 3, *info.input_size]},
        "preprocessing": preprocessing(info, order.flip),
        "embedding_size": info.embedding_size,
        "distance": "cosine similarity; the same person if strictly above the threshold",
        "operating_point": {
            "far": None if point is None else point.far,
            "threshold": None if point is None else point.threshold,
        },
        "evaluation": evaluation,
        "gate": [asdict(row) for row in rows],
        "recipe": recipe.model_dump(mode="json"),
        "source": info.source,
        "licence": info.licence,
        "detector": DETECTOR if order.detector is not None else None,
        "gallery": None if order.gallery is None else _gallery(folder, order.gallery.info, order.flip),
    }


def _gallery(folder: Path, info: BackboneInfo, flip: bool) -> dict[str, Any]:
    return {
        "file": GALLERY,
        "sha256": file_digest(folder / GALLERY),
        "preprocessing": preprocessing(info, flip),
        "source": info.source,
        "licence": info.licence,
    }
