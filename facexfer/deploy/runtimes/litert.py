"""LiteRT, formerly TensorFlow Lite: Android, iOS and boards; converted by litert-torch."""

import contextlib
import io
import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.deploy.runtimes.runtime import RUNTIMES, Example, Original, Session, need, need_quietly, refusing
from facexfer.errors import InputError

_FILES = {
    "fp32": "model.tflite",
    "fp16": "model.fp16.tflite",
    "int8": "model.int8.tflite",
}
# How litert-torch names the first input, the first output, and the one way to call the network.
_INPUT, _OUTPUT, _SIGNATURE = "args_0", "output_0", "serving_default"
_SILENT = {"enable_progress_bar": False, "enable_progress_report": False}
_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class LiteRt:
    """The runtime ``litert``; fp16 are half-precision weights, int8 is by ai-edge-quantizer."""

    name = "litert"
    precisions = ("fp32", "fp16", "int8")
    needs = ("ai-edge-litert", "ai-edge-quantizer", "litert-torch")
    install = 'pip install "facexfer[litert]"'
    fixed_batch = 1
    on_device = ""

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Let litert-torch export the network and write its flatbuffer; it converts no free batch."""
        import torch

        if precision == "int8":
            original.check_no_flip("litert:int8")  # ai-edge-quantizer 0.10.0 does not know the operator
        litert_torch = need_quietly("litert_torch", self)
        litert_torch.config.show_progress = False
        file = folder / _FILES[precision]
        converting = refusing(file, "a network that litert-torch converts", Exception)
        with converting, tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            images = torch.zeros(original.batch or self.fixed_batch, 3, *original.input_size)
            whole = Path(place) / "model.tflite"
            litert_torch.convert(original.network, (images,)).export(str(whole))
            content = whole.read_bytes() if precision == "fp32" else self._quantize(whole, original, precision)
        file.write_bytes(content)
        return (file.name,)

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Load the network for the CPU; left to itself, LiteRT would compute in one thread."""
        interpreter = need("ai_edge_litert.interpreter", self)
        try:
            network = interpreter.Interpreter(str(file), num_threads=threads or os.cpu_count())
            run: Any = network.get_signature_runner(_SIGNATURE)
        except ValueError as error:
            raise InputError(f"{file}: expected a LiteRT model, got: {error}; export it again") from error

        def embed(images: np.ndarray) -> np.ndarray:
            with refusing(file, "a network that LiteRT runs", RuntimeError, ValueError):
                embeddings: np.ndarray = run(**{_INPUT: images})[_OUTPUT]
            return embeddings

        return embed

    def example(self, file: str, precision: str) -> Example:
        """Lines of code for a bundle's README."""
        return Example(
            "import cv2, numpy as np\nfrom ai_edge_litert.interpreter import Interpreter",
            f'run = Interpreter("{file}").get_signature_runner()',
            'run(args_0=crop)["output_0"][0]',
            "ai-edge-litert",
        )

    def _quantize(self, file: Path, original: Original, precision: str) -> bytes:
        """Quantise the convolutions and matrix products of a float32 file, in int8 without those that it would blur."""
        quantizer = need_quietly("ai_edge_quantizer.quantizer", self).Quantizer(str(file))
        operations = need_quietly("ai_edge_quantizer.qtyping", self).TFLOperationName
        if precision == "fp16":
            casting = need_quietly("ai_edge_quantizer.algorithm_manager", self).AlgorithmName.FLOAT_CASTING
            for layer in _LAYERS:
                quantizer.add_weight_only_config(".*", operations(layer), 16, algorithm_key=casting)
            return bytes(quantizer.quantize(**_SILENT).quantized_model)
        layers = self._layers(file)
        loud = original.loud(layers)
        for layer in layers:
            if layer not in loud:
                quantizer.add_static_config(f"^{re.escape(layer)}$", operations.ALL_SUPPORTED, 8, 8)
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar has no switch
            batches = [{_INPUT: images} for images in original.calibration_batches(self.fixed_batch)]
            measured = quantizer.calibrate({_SIGNATURE: batches}, num_threads=os.cpu_count())
        return bytes(quantizer.quantize(measured, **_SILENT).quantized_model)

    def _layers(self, file: Path) -> list[str]:
        """How the quantiser calls the convolutions and matrix products of a file, in its order."""
        flatbuffer = need_quietly("ai_edge_quantizer.utils.tfl_flatbuffer_utils", self)
        model = flatbuffer.read_model(str(file))
        graph = model.subgraphs[0]
        return [
            flatbuffer.get_op_scope(operator, graph.tensors)
            for index, operator in enumerate(graph.operators)
            if flatbuffer.get_op_name_by_index(model, 0, index) in _LAYERS
        ]


RUNTIMES.add("litert", LiteRt())
