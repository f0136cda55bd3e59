"""Smaller forms of an exported ONNX file: half precision and 8-bit integers."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from facexfer.deploy.onnx_export import NORMALISATION

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
    """
    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(str(source), str(out), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    _save_normalisation_first(onnx.load(str(out)), out)


def write_int8_static(source: Path, out: Path, images: np.ndarray) -> None:
    """Write convolutions and matrix products in int8, with the ranges of activations measured on images.

    Args:
        source: The float32 file.
        out: The file to write.
        images: (N, H, W, 3) uint8 RGB crops of the kind that the network will see.
    """
    logging.getLogger().setLevel(logging.ERROR)
    name = onnx.load(str(source)).graph.input[0].name
    quantize_static(
        str(source),
        str(out),
        _Crops(name, images),
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    _save_normalisation_first(onnx.load(str(out)), out)


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
    onnx.checker.check_model(proto)
    onnx.save(proto, str(out))


class _Crops(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, images: np.ndarray) -> None:
        self._batches: Iterator[dict[str, Any]] = (
            {name: image.transpose(2, 0, 1)[None].astype(np.float32)} for image in images
        )

    def get_next(self) -> dict[str, Any] | None:
        """Give the next image, None after the last."""
        return next(self._batches, None)
