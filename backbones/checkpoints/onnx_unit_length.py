"""Embeddings that an ONNX file itself divides by their length, as deployed recognition models often do."""

from collections.abc import Mapping
from typing import Protocol, TypeVar


class Node(Protocol):
    """What is asked of an operator; `facexfer.backbones.checkpoints.onnx_graph.GraphNode` has it."""

    @property
    def op(self) -> str:
        """Its kind."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the computed inputs."""
        ...


N = TypeVar("N", bound=Node)


def without_unit_length(nodes: Mapping[str, N], output: str) -> tuple[dict[str, N], str]:
    """Take the division by the length off the end of a graph, in the forms that exporters write.

    Args:
        nodes: By the name of the value that they compute.
        output: The graph's output.

    Returns:
        The nodes without it, and the output before it; both as they came where there is none.
    """
    last = nodes.get(output)
    if last is None:
        return dict(nodes), output
    if last.op == "LpNormalization":
        return {name: node for name, node in nodes.items() if name != output}, last.inputs[0]
    if last.op != "Div" or len(last.inputs) != 2:
        return dict(nodes), output
    embedding, divisor = last.inputs
    taken = {output}
    # F.normalize keeps the length from being zero and spreads it over the embedding before it divides.
    while divisor in nodes and nodes[divisor].op in ("clip", "Max", "Expand", "ReduceL2"):
        taken.add(divisor)
        node = nodes[divisor]
        if node.op == "ReduceL2":
            if node.inputs != (embedding,):
                break
            taken |= {name for name, other in nodes.items() if other.op == "Shape" and other.inputs == (embedding,)}
            return {name: node for name, node in nodes.items() if name not in taken}, embedding
        divisor = node.inputs[0]
    return dict(nodes), output
