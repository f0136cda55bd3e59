"""OpenVINO: Intel's and AMD's CPUs, Intel's GPUs and NPUs."""

import functools
import logging
import statistics
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx

from facexfer.deploy.runtimes.fast_prelu import restore_prelu
from facexfer.deploy.runtimes.runtime import RUNTIMES, Example, Original, Session, need, refusing
from facexfer.errors import InputError
from facexfer.eval.unit_length import unit_length
from facexfer.files.fixed_batches import CPU_BATCH

# How a file is computed, except what is in 8 bits. Those in bfloat16 are other precisions' files, on a CPU that has it.
_HINTS = {"fp32": "f32", "fp16": "f32", "bf16": "bf16", "int8": "f32", "int8-bf16": "bf16"}
# How far int8 may move a unit embedding, on average over the crops that are watched. Of hundreds of other crops the
# farthest was moved by two to three times that, and the gate allows four.
_LARGEST_MEAN_DISTANCE = 0.06
_WATCHED = 32
_WANTED = "a network that OpenVINO runs"
_FILES = {
    "fp32": "model.xml",
    "bf16": "model.xml",
    "fp16": "model.fp16.xml",
    "int8": "model.int8.xml",
    "int8-bf16": "model.int8.xml",
}
# A network that was compiled for one number of images takes 0.86 to 0.97 of the time. Each takes memory: one crop,
# and what a call takes at most.
_COMPILED_FOR = (1, CPU_BATCH)


class OpenVino:
    """The runtime ``openvino``; int8 is by NNCF's quantisation with accuracy control.

    ``int8-bf16`` is the file of ``int8``, with bfloat16 instead of float32 for what is not in 8 bits.
    """

    name = "openvino"
    precisions = ("fp32", "bf16", "fp16", "int8", "int8-bf16")
    needs = ("openvino", "nncf")
    install = 'pip install "facexfer[openvino]"'
    fixed_batch = None
    on_device = ""

    def convert(self, original: Original, folder: Path, precision: str) -> tuple[str, ...]:
        """Read the ONNX file by OpenVINO's own frontend and write its intermediate representation."""
        openvino = self._library()
        file = folder / _FILES[precision]
        if _HINTS[precision] == "bf16" and "BF16" not in _capabilities(openvino):
            raise InputError(
                f"expected a CPU that computes in bfloat16 for openvino:{precision}, this one does not; take "
                "openvino:fp32 or openvino:int8, or export on the machine that is shipped to"
            )
        if precision.startswith("int8") and file.exists():
            # Quantising takes minutes, and both of its precisions are this file.
            return (file.name, file.with_suffix(".bin").name)
        proto = onnx.load(str(original.onnx))
        restore_prelu(proto)
        own_constants(proto)
        with refusing(original.onnx, _WANTED, RuntimeError):
            model = openvino.Core().read_model(proto.SerializeToString())
        if precision.startswith("int8"):
            model = self._quantize(model, original)
        openvino.save_model(model, file, compress_to_fp16=precision == "fp16")
        return (file.name, file.with_suffix(".bin").name)

    def open(self, file: Path, precision: str, threads: int | None) -> Session:
        """Compile the network for the CPU, at the first call with a number of images."""
        core = self._library().Core()
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[precision]}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        with _in_one_line(file):
            model = core.read_model(str(file))
        takes_any = model.input().partial_shape[0].is_dynamic

        @functools.cache
        def request(count: int | None) -> Any:
            compiled = model
            if count is not None:
                compiled = model.clone()
                compiled.reshape([count, *model.input().partial_shape[1:]])
            with _in_one_line(file):
                return core.compile_model(compiled, "CPU", settings).create_infer_request()

        def embed(images: np.ndarray) -> np.ndarray:
            known = request(len(images) if takes_any and len(images) in _COMPILED_FOR else None)
            with refusing(file, _WANTED, RuntimeError):
                return np.array(next(iter(known.infer([images]).values())), dtype=np.float32)

        return embed

    def example(self, file: str, precision: str) -> Example:
        """Lines of code for a bundle's README."""
        return Example(
            "import cv2, numpy as np, openvino",
            f'settings = {{"INFERENCE_PRECISION_HINT": "{_HINTS[precision]}"}}\n'
            f'network = openvino.Core().compile_model("{file}", "CPU", settings)',
            "network(crop)[0][0].copy()",
            "openvino",
        )

    def _library(self) -> Any:
        # Without this module OpenVINO's Python package falls back to a stub; with it, it reports its use to Intel.
        sys.modules.setdefault("openvino_telemetry", cast(Any, None))
        return need("openvino", self)

    def _quantize(self, model: Any, original: Original) -> Any:
        """Quantise weights and activations to 8 bits, calibrated on training crops, as far as the embeddings bear it.

        NNCF quantises all convolutions, ranks them by what each costs and puts the worst back into float32 until the
        embeddings move by little enough. Sums, PReLUs and the pixels' normalisation stay in float32 from the start:
        quantised, they made nothing faster.
        """
        nncf = need("nncf", self)
        nncf.set_log_level(logging.ERROR)
        batches = original.calibration_batches(1)
        network = self._library().Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        watched = [(images, _unit(network, images)) for images in batches[:: max(1, len(batches) // _WATCHED)]]

        def closeness(quantised: Any, data: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[float, list[float]]:
            moved = [np.linalg.norm(_unit(quantised, images) - expected, axis=1) for images, expected in data]
            near = [1 - float(distances.mean()) for distances in moved]
            return statistics.fmean(near), near

        return nncf.quantize_with_accuracy_control(
            model,
            nncf.Dataset(batches),
            nncf.Dataset(watched, lambda item: item),
            closeness,
            max_drop=_LARGEST_MEAN_DISTANCE,
            subset_size=len(batches),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(types=["Add", "PRelu", "Multiply", "Subtract"], validate=False),
        )


def own_constants(proto: Any) -> None:
    """Copy constants that several operators use, so that each has its own.

    OpenVINO computes a convolution together with its bias and what follows only where nothing else uses those
    constants; a network that is there twice, once for the mirrored image, takes 1.9 times as long without. In its own
    file OpenVINO stores equal constants once.

    Args:
        proto: The ONNX model, changed in place.
    """
    constants = {each.name: each for each in proto.graph.initializer}
    taken: set[str] = set()
    for index, node in enumerate(proto.graph.node):
        for place, name in enumerate(node.input):
            if name in taken:
                copy = onnx.TensorProto.FromString(constants[name].SerializeToString())
                copy.name = node.input[place] = f"{name}_{index}_{place}"
                proto.graph.initializer.append(copy)
            elif name in constants:
                taken.add(name)


@contextmanager
def _in_one_line(file: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise InputError(f"{file}: expected an OpenVINO model, got: {error}; export it again") from error


def _unit(network: Any, images: np.ndarray) -> np.ndarray:
    embeddings: np.ndarray = next(iter(network([images]).values()))
    return unit_length(embeddings)


def _capabilities(openvino: Any) -> tuple[str, ...]:
    return tuple(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


RUNTIMES.add("openvino", OpenVino())
