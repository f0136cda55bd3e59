"""LiteRT, formerly TensorFlow Lite: Android, iOS and boards; converted by litert-torch."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from facexfer.deploy.runtimes.runtime import RUNTIMES, Example, Original, Session, need
from facexfer.errors import InputError

_FILES = {"fp32": "model.tflite"}
# How litert-torch names the first input and the first output.
_INPUT, _OUTPUT = "args_0", "output_0"


class LiteRt:
    """The runtime ``litert``."""

    name = "litert"
    precisions = ("fp32",)
    needs = ("ai-edge-litert", "litert-torch")
    install = 'pip install "facexfer[litert]"'
    fixed_batch = 1
    on_device = ""

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Let litert-torch export the network and write its flatbuffer; it converts no free batch."""
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of jax, torchao and others that litert-torch imports
            litert_torch = need("litert_torch", self)
            litert_torch.config.show_progress = False
            images = torch.zeros(original.batch or self.fixed_batch, 3, *original.input_size)
            model = litert_torch.convert(original.network, (images,))
        file = folder / _FILES[precision]
        model.export(str(file))
        return (file.name,)

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Load the network for the CPU; left to itself, LiteRT would compute in one thread."""
        interpreter = need("ai_edge_litert.interpreter", self)
        try:
            network = interpreter.Interpreter(str(file), num_threads=threads or os.cpu_count())
            run: Any = network.get_signature_runner()
        except ValueError as error:
            raise InputError(f"{file}: expected a LiteRT model, got: {error}; export it again") from error

        def embed(images: np.ndarray) -> np.ndarray:
            embeddings: np.ndarray = run(**{_INPUT: images})[_OUTPUT]
            return embeddings

        return embed

    def example(self, file: str, precision: str) -> Example:
        """Lines of code for a bundle's README."""
        return Example(
            "import cv2, numpy as np\nfrom ai_edge_litert.interpreter import Interpreter",
            f'run = Interpreter("{file}").get_signature_runner()',
            'run(args_0=crop)["output_0"][0]',
        )


RUNTIMES.add("litert", LiteRt())
