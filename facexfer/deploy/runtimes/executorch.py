"""ExecuTorch: phones and boards, by XNNPACK on their CPUs."""

import os
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np

from facexfer.deploy.runtimes.runtime import RUNTIMES, Example, Original, Session, need
from facexfer.errors import InputError

_FILES = {"fp32": "model.pte"}


class ExecuTorch:
    """The runtime ``executorch``."""

    name = "executorch"
    precisions = ("fp32",)
    needs = ("executorch", "torch")
    install = 'pip install "facexfer[executorch]"'
    fixed_batch = 1
    on_device = ""

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Export the network by ``torch.export`` and lower it to XNNPACK."""
        import torch

        exir = self._library("executorch.exir")
        xnnpack = self._library("executorch.backends.xnnpack.partition.xnnpack_partitioner")
        images = torch.zeros(original.batch or self.fixed_batch, 3, *original.input_size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.export.export(original.network, (images,))
            lowered = exir.to_edge_transform_and_lower(exported, partitioner=[xnnpack.XnnpackPartitioner()])
            program = lowered.to_executorch()
        file = folder / _FILES[precision]
        file.write_bytes(program.buffer)
        return (file.name,)

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Load the network; ExecuTorch's threads are those of the whole process."""
        import torch

        library = self._library("executorch.runtime")
        bindings = self._library("executorch.extension.pybindings.portable_lib")
        wanted = threads or os.cpu_count() or 1
        try:
            network = library.Runtime.get().load_program(file).load_method("forward")
        except RuntimeError as error:
            raise InputError(f"{file}: expected an ExecuTorch program, got: {error}; export it again") from error

        def embed(images: np.ndarray) -> np.ndarray:
            if bindings._threadpool_get_thread_count() != wanted:
                bindings._unsafe_reset_threadpool(wanted)
            embeddings: np.ndarray = network.execute([torch.from_numpy(images)])[0].numpy().copy()
            return embeddings

        return embed

    def example(self, file: str, precision: str) -> Example:
        """Lines of code for a bundle's README."""
        return Example(
            "import cv2, numpy as np, torch\nfrom executorch.runtime import Runtime",
            f'network = Runtime.get().load_program("{file}").load_method("forward")',
            "network.execute([torch.from_numpy(crop)])[0][0].numpy().copy()",
        )

    def _library(self, module: str) -> ModuleType:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing it warns of what Python and torch will drop
            return need(module, self)


RUNTIMES.add("executorch", ExecuTorch())
