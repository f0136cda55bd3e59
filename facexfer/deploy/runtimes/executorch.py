"""ExecuTorch: phones and boards, by XNNPACK on their CPUs."""

import os
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from facexfer.deploy.runtimes.runtime import RUNTIMES, Example, Original, Session, need_quietly, refusing
from facexfer.errors import InputError

_FILES = {"fp32": "model.pte", "int8": "model.int8.pte"}


class _Pool:
    """ExecuTorch's threads, which all networks of a process share; a network must not run on others than it met first.

    Args:
        bindings: ExecuTorch's module that has them.
        threads: How many are wanted.
    """

    _changes = 0

    def __init__(self, bindings: ModuleType, threads: int) -> None:
        self._bindings = bindings
        self._threads = threads

    def take(self) -> int:
        """Change to the wanted number, and count the changes so far; after one, earlier networks use freed memory."""
        if self._bindings._threadpool_get_thread_count() != self._threads:
            self._bindings._unsafe_reset_threadpool(self._threads)
            _Pool._changes += 1
        return _Pool._changes


class ExecuTorch:
    """The runtime ``executorch``; int8 is by XNNPACK's quantiser."""

    name = "executorch"
    precisions = ("fp32", "int8")
    needs = ("executorch", "torch", "torchao")
    install = 'pip install "facexfer[executorch]"'
    fixed_batch = 1
    on_device = ""

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Export the network by ``torch.export`` and lower it to XNNPACK."""
        import torch

        if precision == "int8":
            original.check_no_flip("executorch:int8")  # ExecuTorch 1.5.1 writes a program that it cannot load
        exir = need_quietly("executorch.exir", self)
        xnnpack = need_quietly("executorch.backends.xnnpack.partition.xnnpack_partitioner", self)
        images = (torch.zeros(original.batch or self.fixed_batch, 3, *original.input_size),)
        file = folder / _FILES[precision]
        with refusing(file, "a network that ExecuTorch converts", Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.export.export(original.network, images)
            if precision == "int8":
                exported = torch.export.export(self._quantize(exported.module(), original), images)
            lowered = exir.to_edge_transform_and_lower(exported, partitioner=[xnnpack.XnnpackPartitioner()])
            program = lowered.to_executorch()
        file.write_bytes(program.buffer)
        return (file.name,)

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Load the network; it is loaded again after a network on another number of threads has run."""
        import torch

        library = need_quietly("executorch.runtime", self)
        bindings = need_quietly("executorch.extension.pybindings.portable_lib", self)

        def load() -> Any:
            try:
                return library.Runtime.get().load_program(file).load_method("forward")
            except RuntimeError as error:
                raise InputError(f"{file}: expected an ExecuTorch program, got: {error}; export it again") from error

        pool = _Pool(bindings, threads or os.cpu_count() or 1)
        loaded = pool.take()
        network = load()

        def embed(images: np.ndarray) -> np.ndarray:
            nonlocal network, loaded
            if loaded != (current := pool.take()):
                network, loaded = load(), current
            with refusing(file, "a network that ExecuTorch runs", RuntimeError):
                embeddings: np.ndarray = network.execute([torch.from_numpy(images)])[0].numpy().copy()
            return embeddings

        return embed

    def example(self, file: str, precision: str) -> Example:
        """Lines of code for a bundle's README."""
        return Example(
            "import cv2, numpy as np, torch\nfrom executorch.runtime import Runtime",
            f'network = Runtime.get().load_program("{file}").load_method("forward")',
            "network.execute([torch.from_numpy(crop)])[0][0].numpy().copy()",
            # Its own requirements leave torch out.
            "executorch torch",
        )

    def _quantize(self, module: Any, original: Original) -> Any:
        """Quantise the convolutions and matrix products that 8 bits do not blur, calibrated on training crops."""
        import torch

        pt2e = need_quietly("torchao.quantization.pt2e.quantize_pt2e", self)
        xnnpack = need_quietly("executorch.backends.xnnpack.quantizer.xnnpack_quantizer", self)
        targets = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
        layers = [node.name for node in module.graph.nodes if node.target in targets]
        loud = original.loud(layers)
        quantizer = xnnpack.XNNPACKQuantizer()
        for target in targets:
            quantizer.set_operator_type(target, xnnpack.get_symmetric_quantization_config(is_per_channel=True))
        quantizer.set_filter_function(lambda node: node.name not in loud)
        prepared = pt2e.prepare_pt2e(module, quantizer)
        with torch.no_grad():
            for images in original.calibration_batches(self.fixed_batch):
                prepared(torch.from_numpy(images))
        return pt2e.convert_pt2e(prepared)


RUNTIMES.add("executorch", ExecuTorch())
