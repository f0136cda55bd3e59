"""Where onnxruntime runs: on CUDA when it works, else on the CPU, reported once."""

import functools
import sys

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def working_provider() -> str:
    """The best provider that really computes here, found by running a network of one addition."""
    if CUDA not in onnxruntime.get_available_providers():
        return CPU
    try:
        session = onnxruntime.InferenceSession(_addition(), providers=[CUDA, CPU])
        session.run(None, {"x": np.zeros(1, dtype=np.float32)})
    except (ort_errors.Fail, ort_errors.EPFail, ort_errors.RuntimeException):
        return CPU
    used: str = session.get_providers()[0]
    return used


@functools.cache
def choose_provider() -> str:
    """`working_provider`, found once per process; the choice goes to standard error that one time."""
    used = working_provider()
    offered = CUDA in onnxruntime.get_available_providers()
    why = "; CUDA is offered but does not work, facexfer doctor says what to do" if offered and used != CUDA else ""
    sys.stderr.write(f"onnxruntime {onnxruntime.__version__} runs on {used}{why}\n")
    return used


def _addition() -> bytes:
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "x"], ["y"])],
        "addition",
        [value("x", onnx.TensorProto.FLOAT, [1])],
        [value("y", onnx.TensorProto.FLOAT, [1])],
    )
    opsets = [onnx.helper.make_opsetid("", 13)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
