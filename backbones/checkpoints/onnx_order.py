"""Find our network in an ONNX graph by the order in which its constants are used.

Attention and layer normalisation are many small operators that every exporter writes in its own way. The weights are
used in the same order all the same.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from facexfer.backbones.checkpoints.onnx_graph import GraphMismatchError, GraphNode, OnnxGraph


@runtime_checkable
class UsedInOrder(Protocol):
    """A network that knows in which order its constants are used."""

    def constants_in_order(self) -> dict[str, tuple[int, ...]]:
        """Name the constants of a graph of it, with their shapes, in the order of use."""
        ...

    def entries_of_constants(self, constants: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Make the network's entries of these."""
        ...


def constants_in_order(network: UsedInOrder, graph: OnnxGraph, start: str) -> Mapping[str, np.ndarray]:
    """Name a graph's constants as the network does.

    Args:
        network: Ours.
        graph: Theirs.
        start: The value that enters the network, behind the normalisation.

    Returns:
        The network's entries.

    Raises:
        InputError: If the graph holds others; the error names the first.
    """
    theirs = list(_constants(graph, start))
    found: dict[str, Any] = {}
    for name, shape in network.constants_in_order().items():
        if not theirs:
            raise _mismatch(f"'{name}' {shape}", "no further weights")
        node, array = theirs.pop(0)
        fitted = _in_shape(array, shape)
        if fitted is None:
            raise _mismatch(f"'{name}' {shape}", f"{array.shape} at node '{node}'")
        found[name] = fitted
    if theirs:
        raise _mismatch("no further weights", f"{theirs[0][1].shape} at node '{theirs[0][0]}'")
    return network.entries_of_constants(found)


def _mismatch(wanted: str, got: str) -> GraphMismatchError:
    return GraphMismatchError(f"expected {wanted}, got {got}; is it another network?", 0)


def _constants(graph: OnnxGraph, start: str) -> Iterator[tuple[str, np.ndarray]]:
    used = _values_between(graph, start)
    for value, node in graph.nodes.items():
        if value in used:
            yield from ((node.name, array) for array in _weights(node))


def _weights(node: GraphNode) -> Iterator[np.ndarray]:
    """The arrays that training has made; single numbers are a formula's."""
    roles: tuple[str, ...] = ("scale", "weight", "bias")
    if node.op == "affine":
        roles = ("scale",) if node.attributes["operator"] in ("Mul", "Div") else ("shift",)
    yield from (node.arrays[role] for role in roles if role in node.arrays and node.arrays[role].size > 1)


def _values_between(graph: OnnxGraph, start: str) -> set[str]:
    """What leads from a value to the outputs; a matrix product whose bias is taken in another node does not."""
    found: set[str] = set()
    left = list(graph.outputs)
    while left:
        value = left.pop()
        if value not in found and value != start and value in graph.nodes:
            found.add(value)
            left += graph.nodes[value].inputs
    return found


def _in_shape(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    if array.size != np.prod(shape):
        return None
    squeezed, wanted = (tuple(side for side in sides if side > 1) for sides in (array.shape, shape))
    if squeezed == wanted:
        return array.reshape(shape)
    # A table (C, H, W) is added to features (1, H * W, C).
    if len(shape) == 3 and squeezed == (shape[1] * shape[2], shape[0]):
        return array.reshape(-1, shape[0]).T.reshape(shape)
    if len(shape) == 3 and squeezed == (shape[0], shape[1] * shape[2]):
        return array.reshape(shape)
    return None
