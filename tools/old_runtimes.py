"""Check that libraries older than those that facexfer needs load its files, each in an environment of its own.

It exports a network with random weights in several forms, installs each library with nothing but numpy beside it, and
compares the embeddings with those of the library that facexfer runs with.
"""

import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from facexfer.backbones import create_backbone
from facexfer.deploy.gate import TOLERANCES
from facexfer.deploy.onnx_export import export_onnx
from facexfer.deploy.quantize import PER_CHANNEL_OPSET, write_precision
from facexfer.eval.unit_length import unit_length
from facexfer.measure.embedder import load

_NETWORKS = ("mobilefacenet", "lresnet34e_ir")
_OPSETS = (11, 12, 13, 17, 18, 19)
_BATCHES = (None, 1, 4)
_SMALLER = ("fp16", "int8")

app = typer.Typer(add_completion=False, help=__doc__)


@dataclass(frozen=True)
class Library:
    """A library in an old version.

    Attributes:
        requirement: For pip.
        precisions: Which files it is given.
        embeds: Lines of Python: a function ``embed(file, images)``.
    """

    requirement: str
    precisions: tuple[str, ...]
    embeds: str


LIBRARIES = (
    Library(
        "onnxruntime==1.17.3",
        ("fp32", "fp16", "int8"),
        """
import onnxruntime
def embed(file, images):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]
""",
    ),
    Library(
        "opencv-python-headless==4.10.0.84",
        ("fp32",),
        """
import cv2
def embed(file, images):
    network = cv2.dnn.readNetFromONNX(file)
    network.setInput(images)
    return network.forward()
""",
    ),
)
_LOOP = """
import json, sys, numpy as np
for file, batches in json.load(sys.stdin).items():
    for batch in batches:
        try:
            np.save(f"{file}.{batch}.npy", embed(file, np.load(f"crops.{batch}.npy")))
        except Exception as error:
            print(f"{file}, {batch} crops: {error}", file=sys.stderr)
"""


def write_files(backbone: str, folder: Path) -> dict[str, list[int]]:
    """Export a network in every form, with crops and the embeddings that are expected.

    Args:
        backbone: The network's name.
        folder: Where to write.

    Returns:
        The files' names, each with the numbers of crops that it takes.
    """
    torch.manual_seed(0)
    network = create_backbone(backbone).eval()
    generator = np.random.default_rng(0)
    crops = generator.integers(0, 256, (16, *network.info.input_size, 3), dtype=np.uint8)
    for count in (1, 4):
        np.save(folder / f"crops.{count}.npy", crops[:count].transpose(0, 3, 1, 2).astype(np.float32))
    files: dict[str, list[int]] = {}
    for opset in _OPSETS:
        for batch in _BATCHES:
            name = f"{opset}{'' if batch is None else f'-{batch}'}.fp32.onnx"
            export_onnx(network, folder / name, opset, batch)
            files[name] = [1, 4] if batch is None else [batch]
        for precision in _SMALLER if opset > PER_CHANNEL_OPSET else ():
            name = f"{opset}.{precision}.onnx"
            write_precision(precision, folder / f"{opset}.fp32.onnx", folder / name, lambda: crops)
            files[name] = [1, 4]
    np.save(folder / "expected.npy", load(folder / f"{_OPSETS[-1]}.fp32.onnx").embed(crops[:4]))
    return files


def distances(library: Library, files: dict[str, list[int]], folder: Path, place: Path) -> dict[str, float]:
    """Embed by an old library; give the largest difference in unit embeddings by file, infinite where it failed.

    Args:
        library: Which.
        files: As `write_files` returns them.
        folder: Where they are.
        place: Where the library's environment is made, unless it is there.
    """
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", library.requirement, "numpy<2"], check=True)
    for old in folder.glob("*.onnx.*.npy"):
        old.unlink()
    taken = {file: batches for file, batches in files.items() if file.split(".")[1] in library.precisions}
    words = [str(python), "-c", library.embeds + _LOOP]
    subprocess.run(words, input=json.dumps(taken), text=True, cwd=folder, check=True)
    expected = unit_length(np.load(folder / "expected.npy"))
    found = {}
    for file, batches in taken.items():
        written = [folder / f"{file}.{batch}.npy" for batch in batches]
        units = [unit_length(np.load(each)) for each in written if each.exists()]
        whole = len(units) == len(written)
        found[file] = max(float(np.abs(each - expected[: len(each)]).max()) for each in units) if whole else np.inf
    return found


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="A folder for the files and the environments.")],
) -> None:
    """Export, install, compare; exit status 1 if a file is not read or read wrongly."""
    # The libraries' interpreters run in the folder of a network, where a relative path leads elsewhere.
    out, bad = out.resolve(), False
    for network in _NETWORKS:
        folder = out / network
        folder.mkdir(parents=True, exist_ok=True)
        files = write_files(network, folder)
        for library in LIBRARIES:
            found = distances(library, files, folder, out / library.requirement)
            wrong = {
                file: value for file, value in found.items() if not value <= TOLERANCES[file.split(".")[1]].difference
            }
            bad = bad or bool(wrong)
            right = len(found) - len(wrong)
            print(f"{network}, {library.requirement}: {right} of {len(found)} files embed as expected")
            for file, value in wrong.items():
                print(f"  {file}: {value:.2g}")
    sys.exit(bad)


if __name__ == "__main__":
    app()
