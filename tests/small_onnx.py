"""Recognition models of a few nodes, of any input and output type and with any batch: pixels -> (N, 4)."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 8


def small_onnx(
    path: Path,
    given: int = TensorProto.FLOAT,
    made: int = TensorProto.FLOAT,
    batch: int | str = "n",
    inside: int | None = None,
    normalise: bool = True,
    opset: int = 13,
) -> Path:
    """Write a model: cast, normalise, convolve, average, flatten; its embeddings come with `expected`."""
    work, kind = TensorProto.FLOAT, np.float32
    weight = np.random.default_rng(0).normal(size=(4, 3, SIZE, SIZE)).astype(kind)
    constants: dict[str, np.ndarray] = {
        "mean": np.array(127.5, kind), "scale": np.array(1 / 127.5, kind), "weight": weight,
        "shape": np.array([inside or -1, 4] if inside else [0, 4], np.int64),
    }  # fmt: skip
    last = "cast" if not normalise else "scaled"
    nodes = [
        helper.make_node("Cast", ["x"], ["cast"], to=work),
        helper.make_node("Sub", ["cast", "mean"], ["moved"]),
        helper.make_node("Mul", ["moved", "scale"], ["scaled"]),
        helper.make_node("Conv", [last, "weight"], ["maps"]),
        helper.make_node("Reshape", ["maps", "shape"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["y"], to=made),
    ]  # fmt: skip
    if not normalise:
        del nodes[1:3]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", given, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", made, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def expected(crops: np.ndarray) -> np.ndarray:
    weight = np.random.default_rng(0).normal(size=(4, 3, SIZE, SIZE))
    pixels = (crops.transpose(0, 3, 1, 2).astype(float) - 127.5) / 127.5
    embeddings: np.ndarray = np.einsum("nchw,dchw->nd", pixels, weight)
    return embeddings


def outside(path: Path, location: str = "w.bin", **facts: str) -> Path:
    """Move a model's weights into a file next to it, and claim whatever is asked of them."""
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=100)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = {"location": location, **facts}.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())
    return path
