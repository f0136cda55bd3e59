"""TensorRT: NVIDIA's boxes; an engine is built on the GPU that runs it."""

import shutil
from pathlib import Path

from facexfer.deploy.runtimes.runtime import RUNTIMES, Original, Session
from facexfer.errors import InputError

_FILE = "model.tensorrt.onnx"


class TensorRt:
    """The runtime ``tensorrt``: the ONNX file that trtexec takes; its engine is never built here."""

    name = "tensorrt"
    precisions = ("fp32", "fp16")
    needs = ()
    install = "NVIDIA's TensorRT, which brings trtexec"
    fixed_batch = None
    on_device = (
        "trtexec --onnx=model.tensorrt.onnx --saveEngine=model.plan --minShapes=input:1x3x112x112 "
        "--optShapes=input:32x3x112x112 --maxShapes=input:32x3x112x112, with --fp16 for half precision"
    )

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Copy the ONNX file."""
        shutil.copyfile(original.onnx, folder / _FILE)
        return (_FILE,)

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Refuse: this project never opens an engine."""
        raise InputError(f"{file}: expected a runtime that runs here, got tensorrt; on the device: {self.on_device}")

    def example(self, file: str, precision: str) -> None:
        """No lines of Python: trtexec is a program."""


RUNTIMES.add("tensorrt", TensorRt())
