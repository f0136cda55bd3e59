"""Is a bundle here what it was where it was made?"""

from dataclasses import dataclass
from pathlib import Path

from facexfer.data.manifest import read_manifest
from facexfer.deploy.contract import MODEL, read_contract
from facexfer.deploy.gate import TOLERANCES, GateRow, Latency, Tolerance, measure, measure_latencies
from facexfer.errors import InputError, RunError
from facexfer.files.digest import file_digest
from facexfer.measure.embedder import OnnxEmbedder, load
from facexfer.measure.pair_sets import compare, verify
from facexfer.recipe import parse_recipe


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


def verify_bundle(folder: Path, manifest: Path | None = None, run: Path | None = None) -> Verified:
    """Measure a bundle's file again and compare with what the bundle says.

    Args:
        folder: The bundle.
        manifest: The images on which it was measured; None takes the path in its recipe.
        run: The run that it was made of, to compare the embeddings as well.

    Returns:
        What was measured.

    Raises:
        InputError: If the bundle is damaged or the images are others.
        RunError: If the file has changed, TAR differs by more than 0.1 points, or the run's embeddings do.
    """
    contract = read_contract(folder)
    content = contract.content
    file = folder / MODEL
    if file_digest(file) != content.get("sha256"):
        raise RunError(f"{file}: expected the file that was measured, its SHA-256 is another")
    recipe = parse_recipe(content["recipe"], str(folder))
    manifest = manifest or recipe.data.manifest
    assert manifest is not None
    if not manifest.is_file():
        raise InputError(f"{manifest}: expected the images that the bundle was measured on; give them by --manifest")
    images, pairs = read_manifest(manifest).select(split=recipe.data.val_split), recipe.evaluation.pairs[0]
    if images.fingerprint() != content["evaluation"]["data"]:
        raise InputError(f"{manifest}: expected the images that the bundle was measured on, got others; check the path")
    row = None
    if run is None:
        points = verify(OnnxEmbedder(file), images, list(contract.tars), pairs.probe, pairs.gallery)
        now = {point.far: point.tar or 0.0 for point in points}
    else:
        reference = compare(load(run), images, pairs.probe, pairs.gallery)
        precision, tolerance = content["precision"], Tolerance(**content["gate"][0]["tolerance"])
        row, _ = measure(precision, file, reference, images, pairs, list(contract.tars), tolerance)
        if row.problems:
            raise RunError(f"{'; '.join(row.problems)}; do not use it here")
        now = {each.far: each.second for each in row.differences if each is not None}
    for far, before in contract.tars.items():
        if not abs(now[far] - before) <= TOLERANCES["fp32"].loss:
            raise RunError(
                f"expected TAR {100 * before:.2f} % at FAR {far:g}, got {100 * now[far]:.2f} %; do not use it here"
            )
    latencies = measure_latencies(file, images.images[0].path) if row is None else row.latencies
    return Verified(tuple((far, before, now[far]) for far, before in contract.tars.items()), latencies, row)
