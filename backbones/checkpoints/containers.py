"""Find a network's weights in whatever was saved around them: nested dictionaries, prefixes, other networks' tensors.

Nothing is found by a list of names. Every dictionary with tensors in it is looked through for the network's own names
behind one leading part, and taken if all of them are there in their shapes. Anything else is left out and reported: a
head, an optimizer's state, a counter. What lies among the network's own layers without being one of them is an error,
for then it is another network.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from facexfer.backbones.checkpoints.loading import COUNTER
from facexfer.backbones.parts.info import BackboneModule
from facexfer.errors import InputError

_DEEPEST = 6
# The words for an average over the training's steps; such weights are the better ones, and the ones that are reported.
_AVERAGES = ("ema", "swa", "averaged", "average", "avg", "shadow")


@dataclass(frozen=True)
class Weights:
    """One set of weights in a file.

    Attributes:
        place: Where it was found: the dictionaries' keys and the leading part of the names; empty for the file itself.
        entries: Tensor by the network's own name, or a library's own, without the leading part.
        left_out: Names in the same dictionary that belong to no layer of the network.
        remark: Why this set and no other was taken, where there were several.
    """

    place: str
    entries: Mapping[str, Tensor]
    left_out: tuple[str, ...] = ()
    remark: str = field(default="", compare=False)

    def said(self) -> str:
        """One line on where the weights were and what was left out; empty if there is nothing to report."""
        parts = [f"weights at '{self.place}'"] if self.place else []
        if self.left_out:
            shown = ", ".join(self.left_out[:3]) + (", ..." if len(self.left_out) > 3 else "")
            parts.append(f"left out {len(self.left_out)} tensors that are not the network's: {shown}")
        return ", ".join([*parts, *([self.remark] if self.remark else [])])


def tensor_groups(content: Any) -> dict[str, dict[str, Tensor]]:
    """Find all dictionaries with named tensors in what a file holds.

    Args:
        content: As `torch.load` gives it.

    Returns:
        Their places (keys joined by dots) -> their tensors by name, in the file's order.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for place, mapping in _mappings(content, (), 0):
        tensors = {str(name): value for name, value in mapping.items() if isinstance(value, Tensor)}
        if tensors:
            found[".".join(place)] = tensors
    return found


def fitting_weights(network: BackboneModule, groups: Mapping[str, Mapping[str, Tensor]]) -> list[Weights]:
    """Find every set of weights in a file that is complete for a network and no other network's.

    Args:
        network: On any device; it stays as it is.
        groups: As `tensor_groups` gives them.

    Returns:
        The sets, in the file's order.
    """
    candidates = (
        each
        for place, tensors in groups.items()
        for prefix in _prefixes(tensors, _anchors(network))
        for each in [_split(network, place, prefix, tensors)]
    )
    return [each for each in candidates if _fits(network, each.entries)]


def choose_weights(found: list[Weights]) -> Weights:
    """Choose among several sets: of plain weights and their average the average; else there is no telling.

    Args:
        found: One or more.

    Returns:
        The set, with a remark where there were others.

    Raises:
        InputError: If there are several and nothing tells them apart.
    """
    distinct = [each for place, each in enumerate(found) if not any(_same(each, other) for other in found[:place])]
    if len(distinct) == 1:
        return distinct[0]
    averages = [each for each in distinct if _is_average(each)]
    places = ", ".join(f"'{each.place or 'the names without a leading part'}'" for each in distinct)
    if len(averages) != 1 or len(distinct) > 2:
        raise InputError(
            f"expected one set of weights that fits, got {len(distinct)}: {places}; save the one you mean by itself"
        )
    other = next(each for each in distinct if each is not averages[0])
    remark = f"the average, not the plain weights at '{other.place or 'the names without a leading part'}'"
    return Weights(averages[0].place, averages[0].entries, averages[0].left_out, remark)


def nearest_weights(network: BackboneModule, groups: Mapping[str, Mapping[str, Tensor]]) -> Weights | None:
    """The closest set where none fits, so that an error can say what does not fit; None without tensors."""
    wanted = set(_wanted(network))
    candidates = [
        _split(network, place, prefix, tensors, strict=True)
        for place, tensors in groups.items()
        for prefix in ["", *_prefixes(tensors, _anchors(network))]
    ]
    adapted = [(len(wanted & adapt(network, each.entries).keys()), each) for each in candidates]
    return max(adapted, key=lambda pair: pair[0])[1] if adapted else None


def adapt(network: BackboneModule, entries: Mapping[str, Tensor], keep: bool = False) -> dict[str, Tensor]:
    """Turn a library's names into a network's own, where the network knows them.

    Args:
        network: The network.
        entries: Tensors by name.
        keep: Whether the network keeps the classifier that is found among them.

    Returns:
        Tensors by the network's names.
    """
    give = getattr(network if keep else copy.copy(network), "adapt_entries", None)
    return dict(entries) if give is None else dict(give(entries))


def _mappings(content: Any, place: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    if depth > _DEEPEST:
        return
    if isinstance(content, Mapping):
        yield place, content
        inner: list[tuple[Any, Any]] = list(content.items())
    elif isinstance(content, list | tuple):
        inner = list(enumerate(content))
    else:
        return
    for key, value in inner:
        if isinstance(value, Mapping | list | tuple):
            yield from _mappings(value, (*place, str(key)), depth + 1)


def _wanted(network: BackboneModule) -> dict[str, tuple[int, ...]]:
    state = network.state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(COUNTER)}


def _anchors(network: BackboneModule) -> list[str]:
    """A name by which the leading part is seen, of each way of naming; the longest is the least like any other."""
    names = list(_wanted(network))
    longest = max(names, key=len)
    return [longest, longest.partition(".")[2]] if hasattr(network, "adapt_entries") else [longest]


def _prefixes(tensors: Mapping[str, Tensor], anchors: list[str]) -> list[str]:
    found = [
        name.removesuffix(anchor)
        for anchor in anchors
        for name in tensors
        if name == anchor or name.endswith(f".{anchor}")
    ]
    return list(dict.fromkeys(found))


def _split(
    network: BackboneModule, place: str, prefix: str, tensors: Mapping[str, Tensor], strict: bool = False
) -> Weights:
    mine = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    layers = {name.split(".")[0] for name in _wanted(network)}
    # A library's classifier is among its own names, and is taken by `adapt`.
    extras = {
        name
        for name, tensor in mine.items()
        if not strict and not hasattr(network, "adapt_entries") and _is_beside(name, tensor, layers, network)
    }
    others = [name for name in tensors if not name.startswith(prefix)]
    entries = {name: tensor for name, tensor in mine.items() if name not in extras}
    where = ".".join(part for part in (place, prefix.rstrip(".")) if part)
    return Weights(where, entries, (*others, *(f"{prefix}{name}" for name in mine if name in extras)))


def _is_beside(name: str, tensor: Tensor, layers: set[str], network: BackboneModule) -> bool:
    """Whether a tensor is of no layer of the network, and can be a head on its embeddings, a vector or a count."""
    head = tensor.ndim == 2 and network.info.embedding_size in tensor.shape
    return name.split(".")[0] not in layers and (tensor.ndim < 2 or head)


def _fits(network: BackboneModule, entries: Mapping[str, Tensor]) -> bool:
    shapes = {
        name: tuple(tensor.shape) for name, tensor in adapt(network, entries).items() if not name.endswith(COUNTER)
    }
    return shapes == _wanted(network)


def _same(first: Weights, second: Weights) -> bool:
    return first.entries.keys() == second.entries.keys() and all(
        entry is other or (entry.dtype == other.dtype and entry.shape == other.shape and torch.equal(entry, other))
        for name, entry in first.entries.items()
        for other in [second.entries[name]]
    )


def _is_average(weights: Weights) -> bool:
    words = weights.place.lower().replace("_", ".").replace("-", ".").split(".")
    return any(word in _AVERAGES for word in words)
