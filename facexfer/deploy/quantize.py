"""Smaller forms of an exported ONNX file: half precision and 8-bit integers."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from facexfer.deploy.onnx_export import NORMALISATION, lower_ir_version
from facexfer.deploy.runtimes.runtime import LARGEST_NOISE
from facexfer.errors import InputError
from facexfer.measure.providers import CPU

_INTEGER = ("Conv", "Gemm", "MatMul")
# What quantisers put before a node in int8.
_QUANTISED = ("QuantizeLinear", "DynamicQuantizeLinear")
# A channel whose standard deviation is at most this part of a step of its map is constant.
_CONSTANT = 1e-3
MEASURED_IMAGES = 16
"""How many crops are enough to see how loud a map is."""
PER_CHANNEL_OPSET = 13
"""The oldest set of ONNX operators in which int8 weights can have one scale per channel."""
PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic")
"""What a file can be written in."""


def write_precision(precision: str, source: Path, out: Path, calibration: Callable[[], np.ndarray]) -> None:
    """Write an exported file in another precision.

    Args:
        precision: One of `PRECISIONS`; fp32 is a copy.
        source: The float32 file.
        out: The file to write.
        calibration: Gives (N, H, W, 3) uint8 RGB crops of the kind that the network will see, where they are needed.
    """
    if precision == "fp16":
        write_half(source, out)
    elif precision == "int8":
        write_int8_static(source, out, calibration())
    elif precision == "int8-dynamic":
        write_int8_dynamic(source, out)
    else:
        shutil.copyfile(source, out)


def write_half(source: Path, out: Path) -> None:
    """Write weights and arithmetic in float16; pixels and embeddings stay float32.

    Args:
        source: The float32 file.
        out: The file to write.
    """
    half = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
    _save_normalisation_first(half, out)


def write_int8_dynamic(source: Path, out: Path) -> None:
    """Write the matrix products' weights as int8; the ranges of activations are found at each run.

    Args:
        source: The float32 file.
        out: The file to write.

    Raises:
        InputError: If no matrix product has weights, so that nothing would be int8.
    """
    with _quiet():
        quantize_dynamic(str(source), str(out), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    _save_eight_bits(out, "int8-dynamic, a matrix product", "take int8 or fp16")


def write_int8_static(source: Path, out: Path, images: np.ndarray) -> None:
    """Write convolutions and matrix products in int8, with the ranges of activations measured on images.

    Weights have one scale per channel, below `PER_CHANNEL_OPSET` per layer; a map has one for all its channels, from
    its smallest to its largest value. A map with a few far values leaves channels of small ones without steps; the
    convolutions that give or take such a map stay in float32. In MobileFaceNet the maps before the global depthwise
    convolution alone cost nearly all that 8 bits lose.

    Args:
        source: The float32 file.
        out: The file to write.
        images: (N, H, W, 3) uint8 RGB crops of the kind that the network will see.

    Raises:
        InputError: If 8 bits would blur the maps of every convolution and matrix product, so that nothing would be
            int8.
    """
    version = opset(onnx.load(str(source)))
    per_channel = version >= PER_CHANNEL_OPSET
    if not per_channel:
        sys.stderr.write(
            f"int8 at opset {version}: one scale per layer; from opset {PER_CHANNEL_OPSET} on, one per channel\n"
        )
    noise = rounding_noise(source, images[:MEASURED_IMAGES])
    with _quiet():
        quantize_static(
            str(source),
            str(out),
            _Crops(source, images),
            op_types_to_quantize=list(_INTEGER),
            per_channel=per_channel,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[node for node, share in noise.items() if not share <= LARGEST_NOISE],
        )
    _save_eight_bits(out, "int8, a convolution or matrix product that 8 bits do not blur", "take fp16 or fp32")


def opset(proto: Any) -> int:
    """The opset version of a model's standard operators."""
    return int(max(each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")))


def rounding_noise(file: Path, images: np.ndarray) -> dict[str, float]:
    """Estimate what 8 bits do to the maps around each convolution and matrix product.

    Steps of a 255th of a map's range add an error of variance step^2 / 12 to each of its channels, which is held
    against the channel's own variance.

    Args:
        file: The float32 file.
        images: (N, H, W, 3) uint8 RGB crops.

    Returns:
        Node's name -> mean over the channels of that share, at most 1 each, of its input or its output, whichever is
        larger. Constant channels are left out: they say nothing that could be lost.
    """
    proto = onnx.load(str(file))
    nodes = [node for node in proto.graph.node if node.op_type in _INTEGER]
    there = {each.name for each in proto.graph.output}
    for name in sorted({name for node in nodes for name in (node.input[0], node.output[0])} - there):
        proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=[CPU])
    names = [each.name for each in session.get_outputs()]
    fixed = session.get_inputs()[0].shape[0]
    batch = fixed if isinstance(fixed, int) else len(images)
    pixels = np.resize(images, (batch, *images.shape[1:])).transpose(0, 3, 1, 2).astype(np.float32)
    maps = dict(zip(names, session.run(names, {session.get_inputs()[0].name: pixels}), strict=True))
    shares = {name: _noise_share(values) for name, values in maps.items()}
    return {node.name: max(shares[node.input[0]], shares[node.output[0]]) for node in nodes}


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what onnxruntime's quantiser says by the root logger, which is the caller's and goes on as it was."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def _noise_share(values: np.ndarray) -> float:
    variances = values.var(axis=(0, *range(2, values.ndim)))
    step = (max(values.max(), 0) - min(values.min(), 0)) / 255
    # Not "above": where a value is NaN, so is the share.
    live = variances[~(variances <= (_CONSTANT * step) ** 2)]
    return float(np.minimum(1, step**2 / 12 / live).mean()) if live.size else 0.0


def _save_eight_bits(out: Path, wanted: str, advice: str) -> None:
    """Save what a quantiser wrote, once more, if anything in it is quantised."""
    proto = onnx.load(str(out))
    if not any(node.op_type in _QUANTISED for node in proto.graph.node):
        out.unlink()
        raise InputError(f"expected, for {wanted}, got a network without one, which would stay in float32; {advice}")
    _save_normalisation_first(proto, out)


def _save_normalisation_first(proto: Any, out: Path) -> None:
    """Save a model whose first nodes are the normalisation, by which InsightFace knows that pixels are to be fed.

    The converters put their own nodes anywhere: casts at the end, weights' conversions at the start.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    first: list[Any] = []

    def take(node: Any) -> None:
        for name in node.input:
            if name in makers:
                take(makers[name])
        if not any(node is each for each in first):
            first.append(node)

    take(next(node for node in proto.graph.node if node.name == NORMALISATION[-1]))
    rest = [node for node in proto.graph.node if not any(node is each for each in first)]
    nodes = [type(node).FromString(node.SerializeToString()) for node in (*first, *rest)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    lower_ir_version(proto)
    onnx.checker.check_model(proto)
    onnx.save(proto, str(out))


class _Crops(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, source: Path, images: np.ndarray) -> None:
        given = onnx.load(str(source)).graph.input[0]
        batch = given.type.tensor_type.shape.dim[0].dim_value or 1
        self._batches: Iterator[dict[str, Any]] = (
            {given.name: np.repeat(image.transpose(2, 0, 1)[None], batch, axis=0).astype(np.float32)}
            for image in images
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next image, or None after the last."""
        return next(self._batches, None)
