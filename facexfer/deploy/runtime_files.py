"""The files of other runtimes in a bundle: what the contract says of them, and how they are opened."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facexfer.deploy.contract import Contract, read_contract
from facexfer.deploy.gate import GateRow
from facexfer.deploy.runtimes import Choice, choose_runtime
from facexfer.deploy.runtimes.embedder import RuntimeEmbedder
from facexfer.deploy.runtimes.runtime import on_device, versions
from facexfer.errors import InputError
from facexfer.files.digest import file_digest

_INPUT = {"layout": "NCHW", "channels": "RGB", "range": [0, 255], "dtype": "float32"}


@dataclass(frozen=True)
class RuntimeFile:
    """One runtime's files in a bundle.

    Attributes:
        runtime: Its name.
        precision: Of the file.
        files: Names in the folder of ``model.onnx``, first the one to open.
        batch: The number of images that a call takes; None for any number.
        row: What the gate measured; None for a runtime that cannot run where it was converted.
        input_size: (height, width) of the crops in pixels; None where that is not known.
        thresholds: (FAR, threshold) of each target that the data supports, of this very file; empty where it was not
            measured.
        scores: What `facexfer.deploy.score_summary.summary_of` keeps of its scores; None where it was not measured.
    """

    runtime: str
    precision: str
    files: tuple[str, ...]
    batch: int | None
    row: GateRow | None = None
    input_size: tuple[int, int] | None = None
    thresholds: tuple[tuple[float, float], ...] = ()
    scores: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """As in ``--runtime``: ``openvino:bf16``."""
        return f"{self.runtime}:{self.precision}"

    @property
    def choice(self) -> Choice:
        """The runtime and the precision."""
        return choose_runtime(self.name)

    @property
    def on_device(self) -> str:
        """What measures the files on their device; empty for a runtime that runs here."""
        runtime = self.choice.runtime
        return runtime.on_device if self.input_size is None else on_device(runtime, self.input_size, self.batch)

    def open(self, folder: Path, input_size: tuple[int, int], threads: int | None = None) -> RuntimeEmbedder:
        """Open the file of a bundle's folder.

        Raises:
            InputError: If the runtime's library is missing, cannot run here, or a file is damaged.
        """
        if elsewhere := self.on_device:
            raise InputError(f"expected a runtime that runs here, got {self.runtime}; on the device: {elsewhere}")
        return RuntimeEmbedder(self.choice, folder, self.files, input_size, self.batch, threads)


def describe(file: RuntimeFile, folder: Path) -> dict[str, Any]:
    """Describe in a bundle's contract a runtime's files and what must be fed to them.

    Args:
        file: The files.
        folder: Where they lie.
    """
    return {
        "runtime": file.runtime,
        "precision": file.precision,
        "files": [
            {"name": name, "bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
            for name in file.files
        ],
        "input": {**_INPUT, "batch": file.batch or "N"},
        "versions": versions(file.choice.runtime.needs),
        "status": "measured" if file.row is not None else "converted, not measured",
        "measure_on_device": file.on_device or None,
        "gate": None if file.row is None else asdict(file.row),
        "thresholds": [{"far": far, "threshold": threshold} for far, threshold in file.thresholds],
        "scores": file.scores,
        "peak_megabytes": None if file.row is None else file.row.peak_megabytes,
    }


def read_runtime_files(contract: dict[str, Any]) -> tuple[RuntimeFile, ...]:
    """Read what a bundle's contract says of its runtimes; a bundle of an older version has none."""
    return tuple(
        RuntimeFile(
            entry["runtime"],
            entry["precision"],
            tuple(each["name"] for each in entry["files"]),
            entry["input"]["batch"] if isinstance(entry["input"]["batch"], int) else None,
            input_size=tuple(contract["input"]["shape"][2:]),
        )
        for entry in contract.get("runtimes", ())
    )


def find_runtime_file(contract: dict[str, Any], name: str) -> RuntimeFile:
    """Find a runtime's files in a bundle by name; without a precision the first of that runtime.

    Raises:
        InputError: If there is no such runtime, or the bundle has no file for it.
    """
    known = read_runtime_files(contract)
    for file in known:
        if name in (file.name, file.runtime):
            return file
    choose_runtime(name)  # A name of none is another mistake.
    names = ", ".join(file.name for file in known) or "none"
    raise InputError(f"expected a runtime that the bundle has ({names}), got '{name}'; export it with --runtime {name}")


def open_runtime(bundle: Path, name: str, threads: int | None = None) -> RuntimeEmbedder:
    """Open a bundle's file for another runtime than onnxruntime.

    Args:
        bundle: The folder.
        name: The runtime, with or without a precision: ``openvino`` or ``openvino:int8``.
        threads: How many; None lets the library choose.

    Raises:
        InputError: If the bundle has no such file, it or its library is missing, or it cannot run here.
        RunError: If a file is not the one that was measured.
    """
    contract = read_contract(bundle)
    file = find_runtime_file(contract.content, name)
    contract.check_files(file.files)
    height, width = contract.content["input"]["shape"][2:]
    return file.open(bundle, (height, width), threads)


def gate_of(contract: dict[str, Any], file: RuntimeFile) -> dict[str, Any] | None:
    """What the gate measured of a runtime's files when the bundle was made; None if they were converted only."""
    gate: dict[str, Any] | None = _entry_of(contract, file)["gate"]
    return gate


def thresholds_of(contract: Contract, runtime: str | None) -> dict[float, float]:
    """Find the thresholds of the file that a device runs.

    At one threshold, 8 bits do not have the FAR of float32: each file has its own.

    Args:
        contract: Of the bundle.
        runtime: As for `open_runtime`; None means ``model.onnx``.

    Returns:
        Target FAR -> threshold; those of ``model.onnx`` where a runtime's file was converted only, or by a version that
        did not record its own.

    Raises:
        InputError: If the bundle has no file for the runtime.
    """
    if runtime is None:
        return contract.thresholds
    return contract.thresholds | own_thresholds_of(contract, runtime)


def own_thresholds_of(contract: Contract, runtime: str) -> dict[float, float]:
    """Find the thresholds that were measured of a runtime's own file.

    Args:
        contract: Of the bundle.
        runtime: As for `open_runtime`.

    Returns:
        Target FAR -> threshold; empty where the file was converted only, or by a version that did not record its own.

    Raises:
        InputError: If the bundle has no file for the runtime.
    """
    entry = _entry_of(contract.content, find_runtime_file(contract.content, runtime))
    return {each["far"]: each["threshold"] for each in entry.get("thresholds", ())}


def scores_of(contract: Contract, runtime: str | None) -> tuple[dict[str, Any], bool]:
    """Find the summary of scores of the file that a device runs.

    Args:
        contract: Of the bundle.
        runtime: As for `open_runtime`; None means ``model.onnx``.

    Returns:
        The summary, and whether it is that of the very file; that of ``model.onnx`` where a runtime's file was
        converted only, or by a version that did not record its own.

    Raises:
        InputError: If the bundle has no file for the runtime.
    """
    of_onnx: dict[str, Any] = contract.content["scores"]
    if runtime is None:
        return of_onnx, True
    own = _entry_of(contract.content, find_runtime_file(contract.content, runtime)).get("scores")
    return (own, True) if own else (of_onnx, False)


def _entry_of(contract: dict[str, Any], file: RuntimeFile) -> dict[str, Any]:
    entries: list[dict[str, Any]] = contract["runtimes"]
    return next(each for each in entries if (each["runtime"], each["precision"]) == (file.runtime, file.precision))
