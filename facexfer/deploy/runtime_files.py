"""The files of other runtimes in a bundle: what the contract says of them, and how they are opened."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facexfer.deploy.contract import read_contract
from facexfer.deploy.gate import GateRow
from facexfer.deploy.runtimes import Choice, choose_runtime
from facexfer.deploy.runtimes.embedder import RuntimeEmbedder
from facexfer.deploy.runtimes.runtime import versions
from facexfer.errors import InputError, RunError
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
    """

    runtime: str
    precision: str
    files: tuple[str, ...]
    batch: int | None
    row: GateRow | None = None

    @property
    def name(self) -> str:
        """As in ``--runtime``: ``openvino:bf16``."""
        return f"{self.runtime}:{self.precision}"

    @property
    def choice(self) -> Choice:
        """The runtime and the precision."""
        return choose_runtime(self.name)

    def open(self, folder: Path, input_size: tuple[int, int], threads: int | None = None) -> RuntimeEmbedder:
        """Open the file of a bundle's folder.

        Raises:
            InputError: If the runtime's library is missing, cannot run here, or a file is damaged.
        """
        if on_device := self.choice.runtime.on_device:
            raise InputError(f"expected a runtime that runs here, got {self.runtime}; on the device: {on_device}")
        return RuntimeEmbedder(self.choice, folder, self.files, input_size, self.batch, threads)


def describe(file: RuntimeFile, folder: Path) -> dict[str, Any]:
    """Describe in a bundle's contract a runtime's files and what must be fed to them.

    Args:
        file: The files.
        folder: Where they lie.
    """
    runtime = file.choice.runtime
    return {
        "runtime": file.runtime,
        "precision": file.precision,
        "files": [
            {"name": name, "bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
            for name in file.files
        ],
        "input": {**_INPUT, "batch": file.batch or "N"},
        "versions": versions(runtime.needs),
        "status": "measured" if file.row is not None else "converted, not measured",
        "measure_on_device": runtime.on_device or None,
        "gate": None if file.row is None else asdict(file.row),
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
        InputError: If the bundle has no such file, its library is missing, or it cannot run here.
        RunError: If a file is not the one that was measured.
    """
    content = read_contract(bundle).content
    file = find_runtime_file(content, name)
    _check_digests(content, bundle, file)
    height, width = content["input"]["shape"][2:]
    return file.open(bundle, (height, width), threads)


def gate_of(contract: dict[str, Any], file: RuntimeFile) -> dict[str, Any]:
    """What the gate measured of a runtime's files when the bundle was made.

    Raises:
        InputError: If they were converted only.
    """
    gate: dict[str, Any] | None = _entry(contract, file)["gate"]
    if gate is None:
        raise InputError(f"expected a file that was measured, {file.name} was converted only; measure it on its device")
    return gate


def _entry(contract: dict[str, Any], file: RuntimeFile) -> dict[str, Any]:
    entries: list[dict[str, Any]] = contract["runtimes"]
    return next(each for each in entries if (each["runtime"], each["precision"]) == (file.runtime, file.precision))


def _check_digests(contract: dict[str, Any], folder: Path, file: RuntimeFile) -> None:
    for each in _entry(contract, file)["files"]:
        path = folder / each["name"]
        if not path.is_file() or file_digest(path) != each["sha256"]:
            raise RunError(f"{path}: expected the file that was measured, its SHA-256 differs")
