"""TensorRT: NVIDIA's boxes; an engine is built on the GPU that runs it."""

import shutil
from pathlib import Path

from facexfer.deploy.runtimes.runtime import RUNTIMES, Original, Session
from facexfer.errors import InputError

_FILE = "model.tensorrt.onnx"
# The images of a call that an engine takes at least, is tuned for, and takes at most.
_IMAGES = {"min": 1, "opt": 32, "max": 32}


class TensorRt:
    """The runtime ``tensorrt``: the ONNX file that trtexec takes; its engine is never built here."""

    name = "tensorrt"
    precisions = ("fp32", "fp16")
    needs = ()
    install = "NVIDIA's TensorRT, which brings trtexec"
    fixed_batch = None
    on_device = "trtexec, by the line in the bundle's README"

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Copy the ONNX file."""
        shutil.copyfile(original.onnx, folder / _FILE)
        return (_FILE,)

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Refuse: this project never opens an engine."""
        raise InputError(f"{file}: expected a runtime that runs here, got tensorrt; on the device: {self.on_device}")

    def command(self, input_size: tuple[int, int], batch: int | None) -> str:
        """The line that builds an engine; a file with a fixed batch has its shape inside."""
        height, width = input_size
        shapes = [f"--{kind}Shapes=input:{images}x3x{height}x{width}" for kind, images in _IMAGES.items()]
        words = ["trtexec", f"--onnx={_FILE}", "--saveEngine=model.plan", *(shapes if batch is None else ())]
        return f"{' '.join(words)}, with --fp16 for half precision"

    def example(self, file: str, precision: str) -> None:
        """No lines of Python: trtexec is a program."""


RUNTIMES.add("tensorrt", TensorRt())
