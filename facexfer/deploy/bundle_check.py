"""Is a bundle here what it was where it was made?"""

from dataclasses import dataclass
from pathlib import Path

from facexfer.data.manifest import read_manifest
from facexfer.deploy.contract import MODEL, read_contract
from facexfer.deploy.gate import TOLERANCES, GateData, GateRow, Latency, Tolerance, measure, measure_latencies
from facexfer.deploy.runtime_files import find_runtime_file, gate_of, open_runtime
from facexfer.deploy.runtime_gate import measure_runtime, runtime_latencies
from facexfer.errors import InputError, RunError
from facexfer.eval.scores import operating_points
from facexfer.measure.embedder import Embedder, OnnxEmbedder, load
from facexfer.recipe import PairsSection, parse_recipe

# What is looked up in model.json.
_RELIED_ON = ("recipe", "pairs", "gate", "precision", "evaluation")


@dataclass(frozen=True)
class Verified:
    """What was measured of a bundle on this machine.

    Attributes:
        tars: (FAR, TAR as the bundle says, TAR as measured now) of each supported target.
        latencies: Here.
        row: The whole gate, where the run is here too.
    """

    tars: tuple[tuple[float, float, float], ...]
    latencies: tuple[Latency, ...]
    row: GateRow | None


def verify_bundle(
    folder: Path, manifest: Path | None = None, run: Path | None = None, runtime: str | None = None
) -> Verified:
    """Measure a bundle's file again and compare with what the bundle says.

    Args:
        folder: The bundle.
        manifest: The images on which it was measured; None takes the path in its recipe.
        run: The run that it was made of, to compare the embeddings as well.
        runtime: Measure the file of this runtime, such as ``openvino``, in the place of ``model.onnx``.

    Returns:
        What was measured.

    Raises:
        InputError: If the bundle is damaged or the images are others.
        RunError: If the file has changed, TAR differs by more than 0.1 points, or the run's embeddings do.
    """
    contract = read_contract(folder)
    content = contract.content
    file = folder / MODEL
    if missing := [key for key in _RELIED_ON if key not in content]:
        raise InputError(
            f"{folder}: expected a bundle with model.json, got one without {', '.join(missing)}; export again"
        )
    contract.check_files()
    recipe = parse_recipe(content["recipe"], str(folder))
    manifest = manifest or recipe.data.manifest
    assert manifest is not None
    if not manifest.is_file():
        raise InputError(f"{manifest}: expected the images that the bundle was measured on; give them by --manifest")
    images = read_manifest(manifest).select(split=recipe.data.val_split)
    if images.fingerprint() != content["evaluation"]["data"]:
        raise InputError(f"{manifest}: expected the images that the bundle was measured on, got others; check the path")
    other = None if runtime is None else find_runtime_file(content, runtime)
    embedder: Embedder = OnnxEmbedder(file) if other is None else open_runtime(folder, other.name)
    gate = content["gate"][0] if other is None else gate_of(content, other)
    # Of a runtime's file the gate has the figures; those of the bundle itself are of model.onnx.
    said = contract.tars if other is None else {each["far"]: each["second"] for each in gate["differences"] if each}
    gallery = None if contract.gallery is None else OnnxEmbedder(contract.gallery)
    data, row = GateData(images, PairsSection.model_validate(content["pairs"]), list(said), gallery), None
    if run is None:
        points = operating_points(data.compare(embedder).pairs(), data.fars)
        now = {point.far: point.tar or 0.0 for point in points}
    else:
        reference, tolerance = data.compare(load(run, flip=contract.flip)), Tolerance(**gate["tolerance"])
        if other is None:
            row, _ = measure(content["precision"], file, reference, data, tolerance)
        else:
            row = measure_runtime(other, folder, reference, data, tolerance, embedder.input_size).row
        assert row is not None  # it was opened above, so it runs here
        if row.problems:
            raise RunError(f"{'; '.join(row.problems)}; do not use it here")
        now = {each.far: each.second for each in row.differences if each is not None}
    for far, before in said.items():
        if not abs(now[far] - before) <= TOLERANCES["fp32"].loss:
            raise RunError(
                f"expected TAR {100 * before:.2f} % at FAR {far:g}, got {100 * now[far]:.2f} %; do not use it here"
            )
    if row is not None:
        latencies = row.latencies
    elif other is None:
        latencies = measure_latencies(file, data.crop)
    else:
        latencies = runtime_latencies(other, folder, data.crop, embedder.input_size)
    return Verified(tuple((far, before, now[far]) for far, before in said.items()), latencies, row)
