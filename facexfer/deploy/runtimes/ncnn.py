"""ncnn: ARM boards and phones; converted by pnnx."""

import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.deploy.runtimes.runtime import RUNTIMES, Example, Original, Session, need
from facexfer.errors import InputError

_FILES = {"fp32": "model.ncnn", "fp16": "model.fp16.ncnn"}
# How pnnx names the first input and the first output.
_INPUT, _OUTPUT = "in0", "out0"


class Ncnn:
    """The runtime ``ncnn``; fp16 are half-precision weights, computed in half precision where the processor can."""

    name = "ncnn"
    precisions = ("fp32", "fp16")
    needs = ("ncnn", "pnnx")
    install = 'pip install "facexfer[ncnn]"'
    fixed_batch = 1
    on_device = ""

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Trace the network and let pnnx write it; ncnn takes one image at a time."""
        pnnx = need("pnnx", self)
        if original.batch not in (None, 1):
            raise InputError(f"expected a batch of 1 for ncnn, got {original.batch}; leave --batch out")
        name = _FILES[precision]
        with tempfile.TemporaryDirectory() as place:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of TorchScript, which is what pnnx reads
                original.trace(1).save(Path(place) / "network.pt")
            height, width = original.input_size
            words = [f"inputshape=[1,3,{height},{width}]f32", f"fp16={int(precision == 'fp16')}"]
            done = subprocess.run(
                [pnnx.EXEC_PATH, "network.pt", *words], cwd=place, check=False, capture_output=True, text=True
            )
            written = Path(place) / "network.ncnn.param", Path(place) / "network.ncnn.bin"
            if done.returncode != 0 or not all(file.is_file() for file in written):
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise InputError(f"expected a network that pnnx converts, got: {last}; ship it for another runtime")
            for file in written:
                (folder / f"{name}{file.suffix}").write_bytes(file.read_bytes())
        return (f"{name}.param", f"{name}.bin")

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
            raise InputError(f"{file}: expected an ncnn model with its .bin next to it; export it again")

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


RUNTIMES.add("ncnn", Ncnn())
