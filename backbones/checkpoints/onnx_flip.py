"""The embedding of the mirrored image, which a file may add to that of the image itself."""

from collections.abc import Mapping
from typing import TypeVar

from facexfer.backbones.checkpoints.onnx_unit_length import Node

N = TypeVar("N", bound=Node)
# ``torch.flip`` is written as a slice. What it may stand behind, before the first weights: the normalisation, and the
# slice that turns RGB into BGR.
_SLICE = "Slice"
_OF_THE_IMAGE = {"affine", _SLICE}


def without_flip(nodes: Mapping[str, N], output: str) -> tuple[dict[str, N], str]:
    """Keep the half of a graph that embeds the image as it is, where the other half embeds its mirror image.

    The mirrored half slices the image itself once more than the other; slices behind weights are of the network, such
    as those of EdgeFace for older operators. That it slices backwards is taken on trust here: whoever loads the weights
    compares what they compute with the file.

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
    slices = [_image_slices(nodes, names) for _, names in halves]
    plain = [half for half, own, other in zip(halves, slices, reversed(slices), strict=True) if own < other]
    if len(plain) != 1:
        return dict(nodes), output
    ((value, names),) = plain
    return {name: node for name, node in nodes.items() if name in names}, value


def _image_slices(nodes: Mapping[str, N], names: set[str]) -> set[str]:
    """The slices among named nodes that no weights come before."""
    slices = (name for name in names if nodes[name].op == _SLICE)
    return {name for name in slices if all(nodes[each].op in _OF_THE_IMAGE for each in _origins(nodes, name))}


def _origins(nodes: Mapping[str, N], value: str) -> set[str]:
    """The nodes that a value is computed by, its own included."""
    found, left = set[str](), [value]
    while left:
        name = left.pop()
        if name in nodes and name not in found:
            found.add(name)
            left += nodes[name].inputs
    return found
