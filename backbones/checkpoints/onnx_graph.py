"""Read an ONNX recognition model as a graph of a few plain operators; nothing in it is run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.checker import ValidationError
from onnx.external_data_helper import load_external_data_for_model

from facexfer.backbones.checkpoints.onnx_flip import without_flip
from facexfer.backbones.checkpoints.onnx_unit_length import without_unit_length
from facexfer.errors import InputError
from facexfer.files.onnx_parts import read_onnx

# Operators that pass their first input on.
_PASSING = ("Identity", "Dropout", "Cast")
_WEIGHTED = ("Conv", "Gemm", "MatMul", "BatchNormalization", "LayerNormalization", "PRelu")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")
# What a damaged file makes onnx and numpy raise.
_DAMAGE = (
    ValidationError, OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError,
    AssertionError, MemoryError,
)  # fmt: skip


@dataclass(frozen=True)
class GraphNode:
    """One operator.

    Attributes:
        op: ``conv``, ``linear``, ``batch_norm``, ``layer_norm``, ``prelu``, ``relu``, ``clip``, ``flatten``, ``add``
            (of two computed values), ``affine`` (arithmetic with one constant) or ONNX's own name of anything else.
        name: For errors.
        inputs: Names of the computed inputs.
        arrays: The constants by role: ``weight`` (C_out, C_in / groups, kH, kW) or (D_out, D_in), ``bias``, ``mean``,
            ``variance``, ``scale``, ``slope`` (C,); an affine node has ``scale`` and ``shift``.
        attributes: ``stride``, ``padding``, ``groups``, ``eps``, ``limits``; of an affine node ONNX's ``operator``.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OnnxGraph:
    """A model with one input.

    Attributes:
        input: The name of the input value.
        outputs: The names of the output values.
        input_shape: As the file declares it; None for a free length.
        nodes: By the name of the value that they compute, in the file's order.
        producer: What wrote the file, as it says.
        opset: Of the standard operators.
        metadata: The file's own key-value pairs.
        parameters: Numbers in all constants.
        half: Whether there are constants in half precision.
        channels_last: Whether it takes images (N, H, W, 3); the nodes are those behind the change of layout.
        unit_length: Whether it divides the embeddings by their length; the nodes are those before that.
        flip: Whether it adds the embedding of the mirrored image; the nodes are those of the image as it is.
    """

    input: str
    outputs: tuple[str, ...]
    input_shape: tuple[int | None, ...]
    nodes: dict[str, GraphNode]
    producer: str
    opset: int
    metadata: dict[str, str]
    parameters: int
    half: bool
    channels_last: bool
    unit_length: bool
    flip: bool


class GraphMismatchError(InputError):
    """The graph is another network's."""

    def __init__(self, message: str, depth: int) -> None:
        super().__init__(message)
        self.depth = depth


def read_onnx_graph(path: Path) -> OnnxGraph:
    """Read a file.

    Args:
        path: The ONNX file; weights may be in files next to it.

    Returns:
        The graph.

    Raises:
        InputError: If the file is missing or damaged, has weights in another folder, or more than one input.
    """
    # It looks at what other files this one names before onnx opens them.
    model = read_onnx(path)
    try:
        load_external_data_for_model(model, str(path.parent))
        return _read(model, path)
    except InputError:
        raise
    except _DAMAGE as error:
        first = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(
            f"{path}: expected an ONNX model, got: {first}; the file is damaged or is not an ONNX file"
        ) from error


def _read(model: Any, path: Path) -> OnnxGraph:
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    half = any(array.dtype == np.float16 for array in constants.values())
    parameters = sum(array.size for array in constants.values() if array.dtype.kind == "f")
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or not graph.output or not graph.node:
        raise InputError(
            f"{path}: expected a network with one input, got {len(inputs)}, {len(graph.output)} outputs and "
            f"{len(graph.node)} nodes; is it a recognition model?"
        )
    aliases: dict[str, str] = {}
    nodes: dict[str, GraphNode] = {}
    channels_last = False
    for proto in _sorted(graph.node, {value.name for value in inputs} | constants.keys()):
        names = [aliases.get(name, name) for name in proto.input]
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in proto.attribute}
        if proto.op_type == "Constant":
            constants[proto.output[0]] = _constant(attributes)
        elif proto.op_type in _PASSING or _is_to_channels_first(proto, names, inputs[0].name, attributes):
            channels_last = channels_last or proto.op_type == "Transpose"
            aliases[proto.output[0]] = names[0]
            if names[0] in constants:
                constants[proto.output[0]] = constants[names[0]]
        elif _is_constant(proto.op_type, [constants.get(name) for name in names if name], attributes):
            constants[proto.output[0]] = _FOLDED[proto.op_type]([constants[name] for name in names], attributes)
        else:
            nodes[proto.output[0]] = _canonical(proto, names, attributes, constants)
    shape = inputs[0].type.tensor_type.shape.dim
    outputs = tuple(aliases.get(each.name, each.name) for each in graph.output)
    plain, of_any_length = without_unit_length(dict(_with_prelu(dict(_with_bias(nodes)))), outputs[0])
    plain, embedding = without_flip(plain, of_any_length)
    return OnnxGraph(
        input=inputs[0].name,
        outputs=(embedding, *outputs[1:]),
        input_shape=tuple(side.dim_value if side.HasField("dim_value") else None for side in shape),
        nodes=plain,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        opset=max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        parameters=parameters,
        half=half,
        channels_last=channels_last,
        unit_length=of_any_length != outputs[0],
        flip=embedding != of_any_length,
    )


def _is_to_channels_first(proto: Any, names: list[str], source: str, attributes: dict[str, Any]) -> bool:
    return proto.op_type == "Transpose" and names == [source] and list(attributes.get("perm", ())) == [0, 3, 1, 2]


def _sorted(protos: Any, known: set[str]) -> Iterator[Any]:
    """The operators in topological order, which not every writer keeps to."""
    known, left = {"", *known}, list(protos)
    while left:
        late = []
        for proto in left:
            if known.issuperset(proto.input):
                known.update(proto.output)
                yield proto
            else:
                late.append(proto)
        if len(late) == len(left):
            raise ValueError(f"node '{late[0].name}' needs a value that no node produces")
        left = late


def _constant(attributes: dict[str, Any]) -> np.ndarray:
    if "value" in attributes:
        array: np.ndarray = numpy_helper.to_array(attributes["value"])
        return array
    return np.asarray(next(iter(attributes.values())))


def _is_constant(op: str, arrays: list[np.ndarray | None], attributes: dict[str, Any]) -> bool:
    if op not in _FOLDED or any(array is None for array in arrays):
        return False
    # A table of positions goes through a layer of its own.
    weight = arrays[1] if op == "Conv" else None
    return weight is None or (weight.shape[2:] == (1, 1) and attributes.get("group", 1) == 1)


def _pointwise(arrays: list[np.ndarray], _: dict[str, Any]) -> np.ndarray:
    maps, weight, *bias = arrays
    made: np.ndarray = np.einsum("nchw,dc->ndhw", maps, weight[:, :, 0, 0], dtype=np.float64)
    return np.asarray(made + bias[0][:, None, None]) if bias else made


# Arithmetic on constants that exporters leave in the file.
_FOLDED: dict[str, Any] = {
    "Reshape": lambda arrays, _: arrays[0].reshape([int(side) for side in arrays[1]]),
    "Unsqueeze": lambda arrays, attributes: np.expand_dims(
        arrays[0], tuple(int(axis) for axis in (arrays[1] if len(arrays) > 1 else attributes["axes"]))
    ),
    "Transpose": lambda arrays, attributes: arrays[0].transpose(attributes.get("perm")),
    "Neg": lambda arrays, _: -arrays[0],
    "Conv": _pointwise,
}


def _canonical(
    proto: Any, names: list[str], attributes: dict[str, Any], constants: Mapping[str, np.ndarray]
) -> GraphNode:
    name = proto.name or proto.output[0]
    given = [constants.get(each) for each in names]
    computed = tuple(each for each in names if each and each not in constants)
    op = proto.op_type
    if op in _WEIGHTED and given[0] is None and all(array is not None for array in given[1:]):
        arrays = [np.asarray(array, np.float32) for array in given[1:] if array is not None]
        return _weighted(op, name, computed, arrays, attributes)
    if op in _ARITHMETIC and len(computed) == 1 and len(given) == 2:
        return _affine(op, name, computed, given)
    if op == "Add" and len(computed) == 2:
        return GraphNode("add", name, computed)
    if op in ("Flatten", "Reshape"):
        return GraphNode("flatten", name, computed[:1])
    if op == "Relu":
        return GraphNode("relu", name, computed)
    if op == "Clip":
        limits = [float(np.asarray(each).ravel()[0]) for each in given[1:] if each is not None]
        limits = limits or [float(attributes.get("min", -np.inf)), float(attributes.get("max", np.inf))]
        return GraphNode("clip", name, computed, attributes={"limits": tuple(limits)})
    return GraphNode(op, name, computed)


def _weighted(
    op: str, name: str, inputs: tuple[str, ...], arrays: list[np.ndarray], attributes: dict[str, Any]
) -> GraphNode:
    if op == "Conv":
        pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
        plain = pads[:2] == pads[2:] and set(attributes.get("dilations", (1,))) == {1}
        plain = plain and attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", "NOTSET") and arrays[0].ndim == 4
        facts = {
            "stride": tuple(attributes.get("strides", (1, 1))),
            "padding": pads[:2],
            "groups": attributes.get("group", 1),
        }
        return GraphNode(
            "conv" if plain else "Conv", name, inputs, dict(zip(("weight", "bias"), arrays, strict=False)), facts
        )
    if op in ("Gemm", "MatMul"):
        plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0 and not attributes.get("transA", 0)
        weight = arrays[0] if attributes.get("transB", 0) else arrays[0].T
        known: dict[str, np.ndarray] = {"weight": np.ascontiguousarray(weight)}
        if len(arrays) > 1:
            known["bias"] = arrays[1].ravel()
        return GraphNode("linear" if plain and arrays[0].ndim == 2 else op, name, inputs, known)
    if op == "BatchNormalization":
        known = dict(zip(("scale", "bias", "mean", "variance"), arrays, strict=True))
        return GraphNode("batch_norm", name, inputs, known, {"eps": float(attributes.get("epsilon", 1e-5))})
    if op == "LayerNormalization":
        return GraphNode("layer_norm", name, inputs, dict(zip(("scale", "bias"), arrays, strict=False)))
    return GraphNode("prelu", name, inputs, {"slope": arrays[0].ravel()})


def _affine(op: str, name: str, inputs: tuple[str, ...], given: list[np.ndarray | None]) -> GraphNode:
    first = given[0] is not None
    constant = np.asarray(next(array for array in given if array is not None), np.float32)
    one, zero = np.ones_like(constant), np.zeros_like(constant)
    if op == "Div" and first:
        return GraphNode(op, name, inputs)
    meaning: dict[str, tuple[Any, Any]] = {
        "Add": (one, constant),
        "Sub": (-one, constant) if first else (one, -constant),
        "Mul": (constant, zero),
        "Div": (one / np.where(constant == 0, np.nan, constant), zero),
    }
    scale, shift = meaning[op]
    return GraphNode("affine", name, inputs, {"scale": scale, "shift": shift}, {"operator": op})


def _with_bias(nodes: dict[str, GraphNode]) -> Iterator[tuple[str, GraphNode]]:
    """Take a vector that is added to a matrix product as its bias."""
    for value, node in nodes.items():
        before = nodes.get(node.inputs[0]) if node.inputs else None
        if (
            node.op == "affine"
            and before is not None
            and before.op == "linear"
            and "bias" not in before.arrays
            and (node.arrays["scale"] == 1).all()
            and node.arrays["shift"].size == before.arrays["weight"].shape[0]
        ):
            arrays = {**before.arrays, "bias": node.arrays["shift"].ravel()}
            yield value, GraphNode("linear", before.name, before.inputs, arrays)
        else:
            yield value, node


def _with_prelu(nodes: dict[str, GraphNode]) -> Iterator[tuple[str, GraphNode]]:
    """Take ``s x + (1 - s) relu(x)``, as facexfer exports it, as the PReLU that it is."""
    for value, node in nodes.items():
        found = _scaled_parts(nodes, node) if node.op == "add" else {}
        if found.keys() == {"slope", "rest"}:
            (source, slope), (other, rest) = found["slope"], found["rest"]
            if source == other and np.allclose(slope + rest, 1, atol=1e-4):
                yield value, GraphNode("prelu", node.name, (source,), {"slope": slope})
                continue
        yield value, node


def _scaled_parts(nodes: Mapping[str, GraphNode], node: GraphNode) -> dict[str, tuple[str, np.ndarray]]:
    """(value, scale) of the two scaled parts of a sum: ``slope`` of a value itself, ``rest`` of its Relu."""
    found = {}
    for name in node.inputs:
        part = nodes.get(name)
        if part is None or part.op != "batch_norm" or part.arrays["bias"].any() or part.arrays["mean"].any():
            return {}
        before = nodes.get(part.inputs[0])
        scale = part.arrays["scale"] / np.sqrt(part.arrays["variance"] + part.attributes["eps"])
        if before is not None and before.op == "relu":
            found["rest"] = before.inputs[0], scale
        else:
            found["slope"] = part.inputs[0], scale
    return found
