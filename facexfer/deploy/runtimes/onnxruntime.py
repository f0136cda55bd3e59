"""onnxruntime on the CPU, in one file for each precision."""

from pathlib import Path
from typing import Any

import numpy as np

from facexfer.deploy.runtimes.runtime import RUNTIMES, Example, Original, Session, need, refusing
from facexfer.errors import InputError
from facexfer.files.onnx_refusals import onnx_refusals


class OnnxRuntime:
    """The runtime ``onnxruntime``: what ``model.onnx`` is for, here with a choice of threads and precision."""

    name = "onnxruntime"
    precisions = ("fp32", "fp16", "int8", "int8-dynamic")
    needs = ("onnxruntime",)
    install = "pip install onnxruntime"
    fixed_batch = None
    on_device = ""

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Write the ONNX file in the precision."""
        file = folder / f"model.{precision}.onnx"
        original.write_onnx(precision, file)
        return (file.name,)

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Open the file on the CPU."""
        onnxruntime = need("onnxruntime", self)
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        refusals = onnx_refusals()
        try:
            session: Any = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except refusals as error:
            raise InputError(f"{file}: expected an ONNX model, got: {error}; export it again") from error
        name = session.get_inputs()[0].name

        def embed(images: np.ndarray) -> np.ndarray:
            with refusing(file, "a network that onnxruntime runs", *refusals):
                embeddings: np.ndarray = session.run(None, {name: images})[0]
            return embeddings

        return embed

    def example(self, file: str, precision: str) -> Example:
        """Lines of code for a bundle's README."""
        return Example(
            "import cv2, numpy as np, onnxruntime",
            f'session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])',
            'session.run(None, {"input": crop})[0][0]',
            "onnxruntime",
        )


RUNTIMES.add("onnxruntime", OnnxRuntime())
