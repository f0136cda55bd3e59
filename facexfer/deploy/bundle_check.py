"""Is a bundle here what it was where it was made?"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from facexfer.data.manifest import read_manifest
from facexfer.deploy.contract import CONTRACT, MODEL, Contract, read_contract
from facexfer.deploy.gate import (
    ROUNDING,
    TOLERANCES,
    GateData,
    GateRow,
    Latency,
    Tolerance,
    is_usable,
    measure,
    measure_latencies,
)
from facexfer.deploy.runtime_files import RuntimeFile, find_runtime_file, gate_of, open_runtime, own_thresholds_of
from facexfer.deploy.runtime_gate import measure_runtime, runtime_latencies
from facexfer.errors import InputError, RunError
from facexfer.eval.scores import operating_points
from facexfer.eval.verification import OperatingPoint
from facexfer.measure.embedder import Embedder, OnnxEmbedder, load
from facexfer.measure.pair_sets import Comparison
from facexfer.recipe import PairsSection, parse_recipe
from facexfer.runs.face_images import validation_images
from facexfer.runs.folder import RunFolder

# A score moves by twice the distance that the gate allows between two embeddings, at the most; a threshold, a quantile
# of many scores, by less: of what 8 bits may move a score by, the most that is taken for another machine's rounding.
_MOST_MOVED = 0.05
# What is looked up in model.json.
_RELIED_ON = ("recipe", "pairs", "gate", "precision", "evaluation", "embedding_size")


@dataclass(frozen=True)
class Verified:
    """What was measured of a bundle on this machine.

    Attributes:
        tars: (FAR, TAR as the bundle says, TAR as measured now) of each supported target; empty where there is
            none.
        latencies: Here.
        row: The whole gate, where the run is here too.
        is_first: Whether the file was converted only, until now; what the bundle says is then of ``model.onnx``.
        unchecked: The bundle's files of which it records no hash.
    """

    tars: tuple[tuple[float, float, float], ...]
    latencies: tuple[Latency, ...]
    row: GateRow | None
    is_first: bool = False
    unchecked: tuple[str, ...] = ()


def verify_bundle(
    folder: Path, manifest: Path | None = None, run: Path | None = None, runtime: str | None = None
) -> Verified:
    """Measure a bundle's file again and compare with what the bundle says.

    A file that could not be measured where it was converted has no figures in the bundle. It may lose as much TAR
    against ``model.onnx`` as the gate allows against the run; with the run, it has to pass the gate itself.

    Args:
        folder: The bundle.
        manifest: The images on which it was measured; None takes the path in its recipe.
        run: The run that it was made of, to compare the embeddings as well.
        runtime: Measure the file of this runtime, such as ``openvino``, in the place of ``model.onnx``.

    Returns:
        What was measured.

    Raises:
        InputError: If the bundle is damaged, the images are others, `run` is no finished run, or its embeddings have
            another length.
        RunError: If a file has changed, TAR differs by more than 0.1 points, a threshold by more than its precision
            explains (0.0002 in float32), the run's embeddings do, or the file's are not usable.
    """
    contract = read_contract(folder)
    if run is not None:
        _check_run(run)
    content = contract.content
    file = folder / MODEL
    if missing := [key for key in _RELIED_ON if key not in content]:
        raise InputError(
            f"{folder}: expected a bundle with model.json, got one without {', '.join(missing)}; export again"
        )
    if content["precision"] not in TOLERANCES:
        raise InputError(
            f"{folder}: expected a precision of {', '.join(TOLERANCES)} in model.json, got '{content['precision']}'; "
            "export again"
        )
    contract.check_files()
    recipe = parse_recipe(content["recipe"], str(folder))
    manifest = manifest or recipe.data.manifest
    assert manifest is not None
    if not manifest.is_file():
        raise InputError(f"{manifest}: expected the images that the bundle was measured on; give them by --manifest")
    images = validation_images(read_manifest(manifest), recipe.data)
    if images.fingerprint() != content["evaluation"].get("data"):
        raise InputError(f"{manifest}: expected the images that the bundle was measured on, got others; check the path")
    other = None if runtime is None else find_runtime_file(content, runtime)
    embedder: Embedder = OnnxEmbedder(file) if other is None else open_runtime(folder, other.name)
    said = _figures(contract, other)
    gallery = None if contract.gallery is None else OnnxEmbedder(contract.gallery)
    # Where the images support no FAR, there is no TAR to compare; the targets are measured all the same.
    fars = list(said.tars) or [each["far"] for each in content["evaluation"]["operating_points"]]
    data, row = GateData(images, PairsSection.model_validate(content["pairs"]), fars, gallery), None
    thresholds: dict[float, float] = {}
    if run is None:
        got = data.compare(embedder)
        if not is_usable(got):
            raise RunError(
                f"{embedder.name}: expected finite embeddings of positive length, got others; do not use it here"
            )
        points = operating_points(got.pairs(), data.fars)
        now = {point.far: point.tar or 0.0 for point in points}
        thresholds = _thresholds(points)
    else:
        reference = data.compare(load(run, flip=contract.flip))
        _check_length(run, reference, content["embedding_size"])
        if other is None:
            row, got = measure(content["precision"], file, reference, data, said.tolerance)
            thresholds = _thresholds(operating_points(got.pairs(), data.fars)) if is_usable(got) else {}
        else:
            measured = measure_runtime(other, folder, reference, data, said.tolerance, embedder.input_size)
            row, thresholds = measured.row, dict(measured.thresholds)
        assert row is not None  # it was opened above, so it runs here
        if row.problems:
            raise RunError(f"{'; '.join(row.problems)}; do not use it here")
        now = {each.far: each.second for each in row.differences if each is not None}
    if run is None or not said.is_first:
        said.check(now)
        said.check_thresholds(thresholds)
    if row is not None:
        latencies = row.latencies
    elif other is None:
        latencies = measure_latencies(file, data.crop)
    else:
        latencies = runtime_latencies(other, folder, data.crop, embedder.input_size)
    tars = tuple((far, before, now[far]) for far, before in said.tars.items())
    return Verified(tars, latencies, row, said.is_first, contract.unchecked())


@dataclass(frozen=True)
class _Figures:
    """What a file is held against.

    Attributes:
        tars: FAR -> TAR: its own, or those of ``model.onnx``.
        tolerance: How much worse it may be than the run.
        thresholds: FAR -> threshold of the file itself; empty where it has none of its own.
        precision: Of the file.
        is_first: Whether it has no figures of its own.
    """

    tars: dict[float, float]
    tolerance: Tolerance
    thresholds: dict[float, float]
    precision: str
    is_first: bool = False

    def check(self, now: dict[float, float]) -> None:
        """Check what was measured; against another file's figures it may be better, not worse."""
        for far, before in self.tars.items():
            lost = before - now[far]
            allowed = (self.tolerance if self.is_first else TOLERANCES["fp32"]).loss + ROUNDING
            if not (lost if self.is_first else abs(lost)) <= allowed:
                raise RunError(
                    f"expected TAR {100 * before:.2f} % at FAR {far:g}, got {100 * now[far]:.2f} %; do not use it here"
                )

    def check_thresholds(self, now: dict[float, float]) -> None:
        """Check that the thresholds by which the file decides are those of the scores measured now."""
        allowed = min(2 * TOLERANCES[self.precision].difference, _MOST_MOVED)
        for far, before in self.thresholds.items():
            if far in now and not abs(before - now[far]) <= allowed:
                raise RunError(
                    f"expected threshold {before:.6f} of model.json at FAR {far:g}, got {now[far]:.6f} here, more than "
                    f"{allowed:g} apart; do not use it here"
                )


def _thresholds(points: Iterable[OperatingPoint]) -> dict[float, float]:
    return {point.far: point.threshold for point in points if point.threshold is not None}


def _figures(contract: Contract, file: RuntimeFile | None) -> _Figures:
    """The figures of a runtime's file, or of ``model.onnx``."""
    shipped = contract.content["gate"][0]
    if file is None:
        tolerance = Tolerance(**shipped["tolerance"])
        return _Figures(contract.tars, tolerance, contract.thresholds, contract.content["precision"])
    if (gate := gate_of(contract.content, file)) is not None:
        tars = {each["far"]: each["second"] for each in gate["differences"] if each}
        own = own_thresholds_of(contract, file.name)
        return _Figures(tars, Tolerance(**gate["tolerance"]), own, file.precision)
    usual, loss = TOLERANCES[file.precision], shipped["tolerance"]["loss"]
    # Another loss than the precision's own is that of --max-loss, which holds for every file.
    is_usual = loss == TOLERANCES[contract.content["precision"]].loss
    tolerance = usual if is_usual else replace(usual, loss=loss)
    return _Figures(contract.tars, tolerance, {}, file.precision, is_first=True)


def _check_run(run: Path) -> None:
    """Check that it is a run: a bundle's own network, held against itself, would always pass."""
    if (run / CONTRACT).is_file() or not RunFolder(run).recipe_file.is_file():
        raise InputError(f"{run}: expected the folder of the run that the bundle was made from, got none; check --run")
    RunFolder(run).trained_file()


def _check_length(run: Path, reference: Comparison, expected: int) -> None:
    if (size := reference.probe.embeddings.shape[1]) != expected:
        raise InputError(
            f"{run}: expected the run that the bundle was made from, with embeddings of {expected} numbers, got one of "
            f"{size}; name that run"
        )
