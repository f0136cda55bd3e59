"""Scales of revived layers, chosen anew where the exporter's are an accident, without a change of what is computed.

BatchNorm makes a filter's length free, and the scale of its own output is free wherever that is read by filters with
BatchNorm behind them. What is free for the function is not for training: a step of SGD changes a filter by the rate
over the square of its length. An exporter that folds BatchNorm divides filters by the spread of their outputs; at the
rate of a recipe the first steps would destroy such a network.
"""

import operator
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from facexfer.backbones.parts.leaf_tracer import LeafTracer

_BatchNorm = nn.modules.batchnorm._BatchNorm
_COMPUTING = (nn.Conv2d, nn.Linear)
# What passes a positive factor on: f(s x) = s f(x).
_PASSING = (nn.PReLU, nn.ReLU, nn.Dropout, nn.Identity, nn.Flatten, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_PASSING_CALLS = ("flatten", "relu", "contiguous", torch.flatten, nn.functional.relu)
_SUMS = (operator.add, operator.iadd, torch.add)
# As in a network that has been trained: the filters of MXNet's MobileFaceNet have 1 to 3.
_LENGTH = 2.5
# A filter this much shorter than the layer's longest is of a dead channel.
_DEAD = 1e-3


def balance_scales(network: nn.Module, revived: Iterable[str]) -> None:
    """Set the scales of revived layers to what they usually are in a trained network.

    The filters before them get the length 2.5. The layers' own scales get a median of 1 over each value that they
    add to, where all that reads it are filters with BatchNorm behind them. In eval mode the network computes what it
    did.

    Args:
        network: In any mode; one that `torch.fx` cannot trace stays as it is.
        revived: Dotted names of BatchNorm layers with statistics: see `facexfer.backbones.revive`.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten())
        >>> balance_scales(network, ["1"])
        >>> round(float(network[0].weight[0].norm().detach()), 3)
        2.5
    """
    names = set(revived)
    try:
        graph = LeafTracer().trace(network)
    except Exception:  # noqa: BLE001, fx raises whatever the network's own code does with its proxies
        return
    scales = _Scales(network, graph, names)
    with torch.no_grad():
        for layer, norm in scales.pairs():
            _set_lengths(layer, norm)
        scales.balance()


class _Scales:
    """Which values of a network must have one scale, and what makes and what reads them."""

    def __init__(self, network: nn.Module, graph: fx.Graph, revived: set[str]) -> None:
        self._modules = dict(network.named_modules())
        self._revived = revived
        self._graph = graph
        self._group: dict[fx.Node, fx.Node] = {node: node for node in graph.nodes}
        self._pinned: set[fx.Node] = set()
        calls: dict[str, int] = defaultdict(int)
        for node in graph.nodes:
            if node.op == "call_module":
                calls[str(node.target)] += 1
        self._twice = {name for name, count in calls.items() if count > 1}
        for node in graph.nodes:
            self._join(node)

    def pairs(self) -> Iterable[tuple[nn.Conv2d | nn.Linear, _BatchNorm]]:
        """The filters and the revived layers that alone read them."""
        for node in self._graph.nodes:
            before = node.args[0] if node.args else None
            if not (self._is(node, _BatchNorm) and str(node.target) in self._revived and isinstance(before, fx.Node)):
                continue
            if self._is(before, _COMPUTING) and len(before.users) == 1:
                yield cast(Any, self._module(before)), cast(_BatchNorm, self._module(node))

    def balance(self) -> None:
        """Set the scale of each value that is free to 1."""
        pinned = {self._root(node) for node in self._pinned}
        makers: dict[fx.Node, list[fx.Node]] = defaultdict(list)
        for node in self._graph.nodes:
            if self._is(node, _BatchNorm) and self._root(node) not in pinned:
                makers[self._root(node)].append(node)
        for root, nodes in makers.items():
            revived = [cast(Tensor, self._module(node).weight) for node in nodes if str(node.target) in self._revived]
            median = float(torch.cat(revived).abs().median()) if revived else 0.0
            if median > 0:
                self._multiply(root, [cast(_BatchNorm, self._module(node)) for node in nodes], 1 / median)

    def _multiply(self, root: fx.Node, makers: Iterable[_BatchNorm], factor: float) -> None:
        for layer in makers:
            layer.weight.mul_(factor)
            layer.bias.mul_(factor)
        for node in self._graph.nodes:
            reads = isinstance(node.args[0], fx.Node) and self._root(node.args[0]) == root if node.args else False
            if reads and self._is(node, _COMPUTING):
                bias = self._module(node).bias
                if bias is not None:
                    cast(Tensor, bias).mul_(factor)
            elif reads and self._is(node, _BatchNorm):
                layer = cast(_BatchNorm, self._module(node))
                _scale_input(layer, torch.full_like(cast(Tensor, layer.running_var), factor))

    def _join(self, node: fx.Node) -> None:
        inputs = node.all_input_nodes
        if self._is(node, _BatchNorm):
            module = cast(_BatchNorm, self._module(node))
            if not module.affine or module.running_var is None or str(node.target) in self._twice:
                self._pinned.update([node, *inputs])
        elif (
            (self._is(node, (*_COMPUTING, *_PASSING)) and str(node.target) not in self._twice)
            or (node.op in ("call_method", "call_function") and node.target in _PASSING_CALLS)
            or (node.op == "call_function" and node.target in _SUMS and len(inputs) == 2)
        ):
            for each in inputs:
                self._group[self._root(each)] = self._root(node)
        else:
            self._pinned.update([node, *inputs])

    def _root(self, node: fx.Node) -> fx.Node:
        while self._group[node] is not node:
            node = self._group[node]
        return node

    def _module(self, node: fx.Node) -> nn.Module:
        module: nn.Module = self._modules[str(node.target)]
        return module

    def _is(self, node: fx.Node, kinds: Any) -> bool:
        return node.op == "call_module" and isinstance(self._module(node), kinds)


def _set_lengths(layer: nn.Conv2d | nn.Linear, norm: _BatchNorm) -> None:
    """Set the lengths of all living filters, and the statistics of the layer behind them to match."""
    lengths = layer.weight.flatten(1).norm(dim=1)
    factor = torch.where(lengths > _DEAD * lengths.max(), _LENGTH / lengths, torch.ones_like(lengths))
    layer.weight.mul_(factor.view(-1, *[1] * (layer.weight.dim() - 1)))
    if layer.bias is not None:
        layer.bias.mul_(factor)
    _scale_input(norm, factor)


def _scale_input(norm: _BatchNorm, factor: Tensor) -> None:
    """Make a layer compute what it did from an input that has been multiplied."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    before = (norm.running_var.double() + norm.eps).sqrt()
    norm.running_mean.mul_(factor)
    norm.running_var.mul_(factor.square())
    after = (norm.running_var.double() + norm.eps).sqrt()
    norm.weight.copy_(norm.weight * (after / (before * factor)))
