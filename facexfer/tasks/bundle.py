"""The bundle: an ONNX file, its contract, its thresholds, and the evaluation that they come from."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.data.images import read_crop
from facexfer.data.manifest import Manifest, read_manifest
from facexfer.deploy.onnx_export import export_onnx
from facexfer.deploy.quantize import write_half, write_int8_dynamic, write_int8_static
from facexfer.errors import InputError, RunError
from facexfer.eval.report import write_report
from facexfer.eval.tables import findings_to_json
from facexfer.recipe import Recipe, read_recipe
from facexfer.runs import RunFolder, load_backbone
from facexfer.tasks.embedder import file_fingerprint, open_embedder
from facexfer.tasks.evaluation import Request, evaluate_comparison
from facexfer.tasks.gate import GateRow, measure
from facexfer.tasks.verification import compare, verify
from facexfer.writing import write_text

PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic")
_MODEL, _CONTRACT = "model.onnx", "model.json"
_CALIBRATION_IMAGES = 64
_README = """# {name}

Aligned {height}x{width} crops in, embeddings of {size} numbers out; the normalisation is inside `model.onnx`. With
nothing but onnxruntime, numpy and opencv:

```python
import cv2, numpy as np, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
crops = [cv2.imread(path)[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) for path in ("a.jpg", "b.jpg")]
a, b = (session.run(None, {{"input": crop[None]}})[0][0] for crop in crops)
print(a @ b / np.linalg.norm(a) / np.linalg.norm(b))  # the same person if above {threshold}
```

The threshold belongs to FAR {far:g} on the data that `model.json` names; `report/` holds the evaluation.
Source of the weights: {source}. Licence: {licence}.
"""


def make_bundle(run: Path, out: Path, precisions: Sequence[str], say: Callable[[GateRow], None]) -> None:
    """Export a run, hold the file against the run, and write the bundle if it passes.

    Args:
        run: A finished run.
        out: The folder to make.
        precisions: The first is the shipped file's, the others are measured beside it.
        say: Called with each row of the gate as it is measured.

    Raises:
        InputError: If the run is not finished, the folder is there already, or a precision is unknown.
        RunError: If the file is worse than the tolerance; there is no bundle then.
    """
    for precision in precisions:
        if precision not in PRECISIONS:
            raise InputError(f"unknown precision '{precision}'; precisions: {', '.join(PRECISIONS)}")
    if out.exists():
        raise InputError(f"{out}: expected a new folder, it is there already; remove it or give another --out")
    network, recipe = load_backbone(run), read_recipe(RunFolder(run).recipe_file)
    if recipe.data.manifest is None:
        raise InputError(f"{run}: expected a run on faces, got task '{recipe.task}'; export a single .onnx file of it")
    manifest = read_manifest(recipe.data.manifest)
    images, pairs, fars = (
        manifest.select(split=recipe.data.val_split),
        recipe.evaluation.pairs[0],
        recipe.evaluation.fars,
    )
    measured = compare(open_embedder(run), images, pairs.probe, pairs.gallery)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        folder = Path(place) / out.name
        folder.mkdir()
        exported = Path(place) / "fp32.onnx"
        export_onnx(network, exported)
        rows, shipped = [], None
        for precision in precisions:
            file = _write(precision, exported, Path(place), manifest, recipe, network.info.input_size)
            row, comparison = measure(precision, file, measured, images, fars)
            say(row)
            if shipped is None:
                row.check()
                shipped = comparison
                shutil.copyfile(file, folder / _MODEL)
            rows.append(row)
        assert shipped is not None
        facts = {"model": out.name, "data": images.fingerprint(), "split": recipe.data.val_split}
        findings = evaluate_comparison(shipped, Request(tuple(fars)), facts=facts)
        write_report(folder / "report", findings)
        contract: dict[str, Any] = {
            "file": _MODEL,
            "sha256": file_fingerprint(folder / _MODEL),
            "precision": precisions[0],
            "input": {"name": "input", "shape": ["N", 3, *network.info.input_size], "values": "RGB, 0..255, float32"},
            "normalisation": "inside the graph",
            "embedding_size": network.info.embedding_size,
            "distance": "cosine similarity; the same person if strictly above the threshold",
            "evaluation": findings_to_json(findings),
            "pairs": {"probe": pairs.probe, "gallery": pairs.gallery},
            "gate": [asdict(row) for row in rows],
            "recipe": recipe.model_dump(mode="json"),
            "source": network.info.source,
            "licence": network.info.licence,
        }
        write_text(folder / _CONTRACT, json.dumps(contract, indent=2) + "\n")
        point = next((each for each in findings.points if each.threshold is not None), None)
        write_text(folder / "README.md", _readme(out.name, contract, point))
        os.replace(folder, out)


def verify_bundle(folder: Path, manifest: Path) -> list[tuple[float, float, float]]:
    """Measure a bundle's file again and compare with what the bundle says.

    Args:
        folder: The bundle.
        manifest: The images on which it was measured.

    Returns:
        (FAR, TAR as the bundle says, TAR as measured now) of each supported target.

    Raises:
        InputError: If the bundle is damaged or the images are others.
        RunError: If the file has changed or TAR differs by more than 0.1 points.
    """
    try:
        contract = json.loads((folder / _CONTRACT).read_text(encoding="utf-8"))
        evaluation, split = contract["evaluation"], contract["recipe"]["data"]["val_split"]
        said = {row["far"]: row["tar"] for row in evaluation["operating_points"] if row["supported"]}
        expected = contract["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: expected a bundle with {_CONTRACT}, got: {error}; export it again") from error
    if file_fingerprint(folder / _MODEL) != expected:
        raise RunError(f"{folder / _MODEL}: expected the file that was measured, its SHA-256 is another")
    images = read_manifest(manifest).select(split=split)
    if images.fingerprint() != evaluation["data"]:
        raise InputError(f"{manifest}: expected the images that the bundle was measured on, got others; check the path")
    pairs = contract["pairs"]
    points = verify(open_embedder(folder / _MODEL), images, list(said), pairs["probe"], pairs["gallery"])
    result = [(point.far, said[point.far], point.tar or 0.0) for point in points]
    for far, before, now in result:
        if not abs(now - before) <= 1e-3:
            raise RunError(
                f"expected TAR {100 * before:.2f} % at FAR {far:g}, got {100 * now:.2f} %; do not use it here"
            )
    return result


def _write(
    precision: str, exported: Path, place: Path, manifest: Manifest, recipe: Recipe, size: tuple[int, int]
) -> Path:
    file = place / f"{precision}.onnx"
    if precision == "fp16":
        write_half(exported, file)
    elif precision == "int8-dynamic":
        write_int8_dynamic(exported, file)
    elif precision == "int8":
        training = manifest.select(split=recipe.data.train_split, modality=recipe.data.modality).images
        chosen = training[:: max(1, len(training) // _CALIBRATION_IMAGES)][:_CALIBRATION_IMAGES]
        write_int8_static(exported, file, np.stack([read_crop(image.path, size) for image in chosen]))
    return file


def _readme(name: str, contract: dict[str, Any], point: Any) -> str:
    _, _, height, width = contract["input"]["shape"]
    return _README.format(
        name=name,
        height=height,
        width=width,
        size=contract["embedding_size"],
        threshold=f"{point.threshold:.4f}" if point is not None else "your threshold",
        far=point.far if point is not None else float("nan"),
        source=contract["source"] or "random",
        licence=contract["licence"],
    )
