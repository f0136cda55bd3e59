"""ncnn: ARM boards and phones; converted by pnnx, and into 8 bits by ncnn's own tools."""

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facexfer.deploy.runtimes.runtime import RUNTIMES, Example, Original, Session, need
from facexfer.errors import InputError

_FILES = {"fp32": "model.ncnn", "fp16": "model.fp16.ncnn", "int8": "model.int8.ncnn"}
# How pnnx names the first input and the first output.
_INPUT, _OUTPUT = "in0", "out0"
# What measures the ranges of maps, and what writes weights as integers.
_QUANTISER = ("ncnn2table", "ncnn2int8")
_LAYERS = ("Convolution", "ConvolutionDepthWise", "InnerProduct")


class Ncnn:
    """The runtime ``ncnn``; fp16 are half-precision weights, computed in half precision where the processor can.

    int8 needs ``ncnn2table`` and ``ncnn2int8``, two programs of ncnn that its Python package does not have.
    """

    name = "ncnn"
    precisions = ("fp32", "fp16", "int8")
    needs = ("ncnn", "pnnx")
    install = 'pip install "facexfer[ncnn]"'
    fixed_batch = 1
    on_device = ""

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Trace the network and let pnnx write it; ncnn takes one image at a time."""
        pnnx = need("pnnx", self)
        if original.batch not in (None, 1):
            raise InputError(f"expected a batch of 1 for ncnn, got {original.batch}; leave --batch out")
        if precision == "int8":
            _check_quantiser()
        with tempfile.TemporaryDirectory() as folder_of_steps:
            place = Path(folder_of_steps)
            with warnings.catch_warnings():
                # Of the age of TorchScript, which is what pnnx reads, and of sizes, which are fixed.
                warnings.simplefilter("ignore")
                original.trace(1).save(place / "network.pt")
            height, width = original.input_size
            words = [f"inputshape=[1,3,{height},{width}]f32", f"fp16={int(precision == 'fp16')}"]
            written = ("network.ncnn.param", "network.ncnn.bin")
            _run([pnnx.EXEC_PATH, "network.pt", *words], place, written)
            if precision == "int8":
                written = _quantise(original, place, *written)
            names = tuple(_FILES[precision] + Path(file).suffix for file in written)
            for file, name in zip(written, names, strict=True):
                (folder / name).write_bytes((place / file).read_bytes())
        return names

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Load the network."""
        ncnn = need("ncnn", self)
        network = ncnn.Net()
        is_half = precision == "fp16"
        options: Any = network.opt
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = is_half
        if threads is not None:
            options.num_threads = threads
        if network.load_param(str(file)) != 0 or network.load_model(str(file.with_suffix(".bin"))) != 0:
            raise InputError(
                f"{file}: expected an ncnn model of layers that ncnn knows, with its .bin next to it; export it again, "
                "or ship it for another runtime"
            )

        def embed(images: np.ndarray) -> np.ndarray:
            extractor = network.create_extractor()
            extractor.input(_INPUT, ncnn.Mat(images[0]))
            status, embedding = extractor.extract(_OUTPUT)
            if status != 0:
                raise InputError(f"{file}: expected an ncnn model that facexfer wrote, it has no {_OUTPUT}")
            return np.array(embedding, dtype=np.float32).reshape(1, -1)

        return embed

    def example(self, file: str, precision: str) -> Example:
        """Lines of code for a bundle's README."""
        options = (f"use_fp16_{kind}" for kind in ("packed", "storage", "arithmetic"))
        opens = (
            "network = ncnn.Net()",
            " = ".join((*(f"network.opt.{option}" for option in options), str(precision == "fp16"))),
            f'network.load_param("{file}"), network.load_model("{file.removesuffix(".param")}.bin")',
            "def extract(crop, by):",
            f'    return by.input("{_INPUT}", ncnn.Mat(crop[0])) or np.array(by.extract("{_OUTPUT}")[1])',
        )
        embeds = "extract(crop, network.create_extractor())"
        return Example("import cv2, ncnn, numpy as np", "\n".join(opens), embeds, "ncnn")


def _check_quantiser() -> None:
    absent = [program for program in _QUANTISER if shutil.which(program) is None]
    if absent:
        raise InputError(
            f"expected ncnn's programs {' and '.join(_QUANTISER)} on the PATH, got no {' and no '.join(absent)}; "
            "build ncnn with -DNCNN_BUILD_TOOLS=ON, or choose ncnn:fp16"
        )


def _quantise(original: Original, place: Path, param: str, weights: str) -> tuple[str, str]:
    """Write the float32 network of a folder in 8 bits, without the layers that those would blur."""
    table = "network.table"
    crops = original.calibration()
    for index, crop in enumerate(crops):
        cv2.imwrite(str(place / f"{index}.png"), crop[:, :, ::-1])
    (place / "crops.txt").write_text("".join(f"{index}.png\n" for index in range(len(crops))))
    height, width = original.input_size
    form = ["mean=[0,0,0]", "norm=[1,1,1]", f"shape=[{width},{height},3]", "pixel=RGB", f"thread={os.cpu_count() or 1}"]
    # With the loud layers left out, ACIQ (Banner et al. 2018) moves embeddings less than Kullback-Leibler does.
    _run([_QUANTISER[0], param, weights, "crops.txt", table, *form, "method=aciq"], place, [table])
    # A layer without a line in the table stays in float32.
    loud = original.loud(quantised_layers(place / param))
    lines = (place / table).read_text().splitlines(keepends=True)
    (place / table).write_text("".join(line for line in lines if line.split()[0].removesuffix("_param_0") not in loud))
    written = ("network.int8.param", "network.int8.bin")
    _run([_QUANTISER[1], param, weights, *written, table], place, written)
    return written


def quantised_layers(param: Path) -> list[str]:
    """The convolutions and matrix products of a file, in the order in which they are computed."""
    rows = [line.split() for line in param.read_text().splitlines()[2:]]
    return [row[1] for row in rows if row[0] in _LAYERS]


def _run(words: Sequence[str], place: Path, written: Sequence[str]) -> None:
    """Run one of the converter's programs in a folder.

    Raises:
        InputError: If it failed, or did not write the named files.
    """
    done = subprocess.run(words, cwd=place, check=False, capture_output=True, text=True)
    if done.returncode != 0 or not all((place / file).is_file() for file in written):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(
            f"expected a network that {Path(words[0]).name} converts, got: {last}; ship it for another runtime"
        )


RUNTIMES.add("ncnn", Ncnn())
