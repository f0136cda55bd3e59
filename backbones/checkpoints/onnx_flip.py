"""The embedding of the mirrored image, which a file may add to that of the image itself."""

from collections.abc import Mapping
from typing import TypeVar

from facexfer.backbones.checkpoints.onnx_unit_length import Node

N = TypeVar("N", bound=Node)
_MIRRORING = "Slice"


def without_flip(nodes: Mapping[str, N], output: str) -> tuple[dict[str, N], str]:
    """Keep the half of a graph that embeds the image as it is, where the other half embeds its mirror image.

    A backward slice is how ``torch.flip`` is written. It is taken on trust here: whoever loads the weights compares
    what they compute with the file.

    Args:
        nodes: By the name of the value that they compute.
        output: The graph's output.

    Returns:
        The nodes without the mirrored half, and the output of the other; both as they came where there is none.
    """
    last = nodes.get(output)
    if last is None or last.op != "add":
        return dict(nodes), output
    halves = [(value, _origins(nodes, value)) for value in last.inputs]
    plain = [(value, names) for value, names in halves if not any(nodes[name].op == _MIRRORING for name in names)]
    if len(plain) != 1:
        return dict(nodes), output
    ((value, names),) = plain
    return {name: node for name, node in nodes.items() if name in names}, value


def _origins(nodes: Mapping[str, N], value: str) -> set[str]:
    """The nodes that a value is computed by, its own included."""
    found, left = set[str](), [value]
    while left:
        name = left.pop()
        if name in nodes and name not in found:
            found.add(name)
            left += nodes[name].inputs
    return found
