"""Find our network in an ONNX graph by structure and shapes, whatever its nodes are called."""

import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from facexfer.backbones.checkpoints.onnx_graph import GraphMismatchError, GraphNode, OnnxGraph
from facexfer.backbones.checkpoints.onnx_order import UsedInOrder, constants_in_order
from facexfer.backbones.parts.layers import FixedScaleBatchNorm1d
from facexfer.backbones.parts.leaf_tracer import LeafTracer

_BatchNorm = nn.modules.batchnorm._BatchNorm
_COMPUTING = (nn.Conv2d, nn.Linear)


@dataclass
class Match:
    """What a network takes from a graph.

    Attributes:
        entries: Our state-dict keys -> arrays.
        folded: BatchNorm layers that the file has folded into the convolution before.
        mean: One value per channel in grey levels, or None where the file does not normalise.
        scale: One value per channel per grey level, or None.
    """

    entries: dict[str, Tensor] = field(default_factory=dict)
    folded: list[str] = field(default_factory=list)
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None


def match_graph(network: nn.Module, graph: OnnxGraph) -> Match:
    """Walk both networks from the output to the input, side by side.

    Two computed values may be added in any order, BatchNorm may be there or folded, a linear layer may be a Gemm or a
    MatMul, and subtractions, multiplications and divisions by constants before everything else are the normalisation.

    Args:
        network: Ours.
        graph: Theirs.

    Returns:
        What fits where.

    Raises:
        InputError: If the graphs differ; the error names the first place from the output where they do.
    """
    if isinstance(network, UsedInOrder):
        return _match_order(network, graph)
    traced = LeafTracer().trace(network)
    output = next(node for node in traced.nodes if node.op == "output").args[0]
    assert isinstance(output, fx.Node)
    if len(graph.outputs) != 1:
        raise GraphMismatchError(f"expected one output, got {len(graph.outputs)}; is it a recognition model?", 0)
    walk = _Walk(network, graph)
    walk.follow(output, graph.outputs[0])
    return walk.match


def _match_order(network: UsedInOrder, graph: OnnxGraph) -> Match:
    first = next((node for node in graph.nodes.values() if node.op == "conv"), None)
    if first is None:
        raise GraphMismatchError("expected a convolution, got none; is it another network?", 0)
    mean, scale = _normalisation(graph, first.inputs[0], 0)
    found = constants_in_order(network, graph, first.inputs[0])
    entries = {name: torch.from_numpy(np.array(array, dtype=np.float32)) for name, array in found.items()}
    return Match(entries, mean=mean, scale=scale)


class _Walk:
    def __init__(self, network: nn.Module, graph: OnnxGraph) -> None:
        self.match = Match()
        self._modules = dict(network.named_modules())
        self._graph = graph
        self._seen: dict[fx.Node, str] = {}

    def follow(self, ours: fx.Node, value: str) -> None:
        while ours.op != "placeholder":
            if ours in self._seen:
                if self._seen[ours] != value:
                    raise self._mismatch(f"'{ours.name}'", "one value used twice", value)
                return
            self._seen[ours] = value
            if ours.target is operator.add:
                self._follow_sum(ours, value)
                return
            if ours.op == "call_module":
                value, ours = self._module(str(ours.target), ours, value)
            else:
                # The networks have no other methods than flatten.
                value, ours = self._expect("flatten", "a flatten", value).inputs[0], _input(ours)
        self.match.mean, self.match.scale = _normalisation(self._graph, value, len(self._seen))

    def _follow_sum(self, ours: fx.Node, value: str) -> None:
        theirs = self._expect("add", f"the sum '{ours.name}'", value)
        left, right = ours.args
        assert isinstance(left, fx.Node)
        assert isinstance(right, fx.Node)
        seen, entries, folded = dict(self._seen), dict(self.match.entries), list(self.match.folded)
        try:
            self.follow(left, theirs.inputs[0])
            self.follow(right, theirs.inputs[1])
        except GraphMismatchError as first:
            self._seen, self.match.entries, self.match.folded = seen, entries, folded
            try:
                self.follow(left, theirs.inputs[1])
                self.follow(right, theirs.inputs[0])
            except GraphMismatchError as second:
                raise max(first, second, key=lambda error: error.depth) from None

    def _module(self, name: str, ours: fx.Node, value: str) -> tuple[str, fx.Node]:
        module = self._modules[name]
        if isinstance(module, nn.Dropout | nn.Identity):
            return value, _input(ours)
        if isinstance(module, nn.Flatten):
            return self._expect("flatten", f"'{name}'", value).inputs[0], _input(ours)
        if isinstance(module, _BatchNorm):
            return self._batch_norm(name, module, ours, value)
        if isinstance(module, _COMPUTING):
            return self._computing(name, module, value), _input(ours)
        if isinstance(module, nn.PReLU):
            theirs = self._expect("prelu", f"'{name}'", value)
            self._put(f"{name}.weight", theirs.arrays["slope"], theirs)
            return theirs.inputs[0], _input(ours)
        op = {nn.ReLU: "relu", nn.ReLU6: "clip"}.get(type(module), "")
        theirs = self._expect(op, f"'{name}' ({type(module).__name__})", value)
        if op == "clip" and theirs.attributes["limits"] != (0.0, 6.0):
            raise self._mismatch(f"'{name}'", "limits 0 and 6", value)
        return theirs.inputs[0], _input(ours)

    def _batch_norm(self, name: str, module: _BatchNorm, ours: fx.Node, value: str) -> tuple[str, fx.Node]:
        theirs = self._graph.nodes.get(value)
        before = self._modules.get(str(_input(ours).target))
        if theirs is not None and theirs.op in ("conv", "linear") and isinstance(before, _COMPUTING):
            self._folded(name, module, theirs.arrays.get("bias"), module.num_features, theirs)
            self._computing(str(_input(ours).target), before, value, bias_taken=True)
            return theirs.inputs[0], _input(_input(ours))
        theirs = self._expect("batch_norm", f"'{name}'", value)
        arrays = {key: array.astype(np.float64) for key, array in theirs.arrays.items()}
        # Our eps is the network's own: what theirs differs by goes into the variance, or the scale where it cannot.
        variance = np.maximum(arrays["variance"] + theirs.attributes["eps"] - module.eps, 0)
        ratio = np.sqrt((variance + module.eps) / (arrays["variance"] + theirs.attributes["eps"]))
        scale = arrays["scale"] * ratio
        if isinstance(module, FixedScaleBatchNorm1d):
            if not np.allclose(scale, 1, atol=1e-6):
                raise self._mismatch(f"'{name}'", "a scale of 1", value)
        else:
            self._put(f"{name}.weight", scale, theirs)
        self._put(f"{name}.bias", arrays["bias"], theirs)
        self._put(f"{name}.running_mean", arrays["mean"], theirs)
        self._put(f"{name}.running_var", variance, theirs)
        following = self._graph.nodes.get(theirs.inputs[0])
        bias = following.arrays.get("bias") if following is not None else None
        if isinstance(before, _COMPUTING) and before.bias is None and following is not None and bias is not None:
            # A bias before BatchNorm is a shift of its mean.
            self._put(f"{name}.running_mean", arrays["mean"] - bias, theirs)
            self._computing(str(_input(ours).target), before, theirs.inputs[0], bias_taken=True)
            return following.inputs[0], _input(_input(ours))
        return theirs.inputs[0], _input(ours)

    def _folded(self, name: str, module: _BatchNorm, bias: np.ndarray | None, features: int, theirs: GraphNode) -> None:
        zeros = np.zeros(features)
        if not isinstance(module, FixedScaleBatchNorm1d):
            self._put(f"{name}.weight", np.ones(features), theirs)
            self.match.folded.insert(0, name)
        self._put(f"{name}.bias", zeros if bias is None else bias, theirs)
        self._put(f"{name}.running_mean", zeros, theirs)
        self._put(f"{name}.running_var", np.full(features, 1 - module.eps), theirs)

    def _computing(self, name: str, module: nn.Conv2d | nn.Linear, value: str, bias_taken: bool = False) -> str:
        theirs = self._expect("conv" if isinstance(module, nn.Conv2d) else "linear", f"'{name}'", value)
        if isinstance(module, nn.Conv2d):
            ours = {"stride": module.stride, "padding": module.padding, "groups": module.groups}
            if dict(theirs.attributes) != ours:
                raise self._mismatch(f"'{name}'", f"a convolution of {ours}", value)
        self._put(f"{name}.weight", theirs.arrays["weight"], theirs)
        bias = theirs.arrays.get("bias")
        if module.bias is not None:
            taken = bias_taken or bias is None
            self._put(f"{name}.bias", np.zeros(len(module.bias)) if taken or bias is None else bias, theirs)
        elif bias is not None and not bias_taken:
            raise self._mismatch(f"'{name}'", "no bias", value)
        return theirs.inputs[0]

    def _put(self, key: str, array: np.ndarray, theirs: GraphNode) -> None:
        module, _, parameter = key.rpartition(".")
        expected = tuple(getattr(self._modules[module], parameter).shape)
        if array.shape != expected:
            # One slope may serve all channels.
            if array.size != 1 or len(expected) != 1:
                raise GraphMismatchError(
                    f"expected '{key}' of shape {expected}, got {array.shape} at node '{theirs.name}'; is it another "
                    "network?",
                    len(self._seen),
                )
            array = np.broadcast_to(array, expected)
        self.match.entries[key] = torch.from_numpy(np.array(array, dtype=np.float32))

    def _expect(self, op: str, what: str, value: str) -> GraphNode:
        theirs = self._graph.nodes.get(value)
        if theirs is None or theirs.op != op:
            raise self._mismatch(what, op, value)
        return theirs

    def _mismatch(self, what: str, wanted: str, value: str) -> GraphMismatchError:
        return _mismatch(self._graph, what, wanted, value, len(self._seen))


def _mismatch(graph: OnnxGraph, what: str, wanted: str, value: str, depth: int) -> GraphMismatchError:
    theirs = graph.nodes.get(value)
    got = "the input" if theirs is None else f"{theirs.op} at node '{theirs.name}'"
    if theirs is not None and theirs.attributes:
        got += f" {dict(theirs.attributes)}"
    return GraphMismatchError(f"expected {wanted} for our {what}, got {got}; is it another network?", depth)


def _normalisation(
    graph: OnnxGraph, value: str, depth: int
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """The mean and scale of each channel that lead from the input to a value; None and None if it is the input."""
    scale: Any = np.ones(1)
    shift: Any = np.zeros(1)
    if value == graph.input:
        return None, None
    while value != graph.input:
        theirs = graph.nodes.get(value)
        if theirs is None or theirs.op != "affine" or theirs.arrays["scale"].size not in (1, 3):
            raise _mismatch(graph, "input", "the input or a normalisation by constants", value, depth)
        shift = shift + scale * theirs.arrays["shift"].ravel().astype(np.float64)
        scale = scale * theirs.arrays["scale"].ravel().astype(np.float64)
        value = theirs.inputs[0]
    if not (np.isfinite(scale).all() and np.isfinite(shift).all() and (scale != 0).all()):
        raise GraphMismatchError("expected a finite normalisation, got one that is not; the file is damaged", 0)
    means, scales = np.broadcast_to(-shift / scale, (3,)), np.broadcast_to(scale, (3,))
    return tuple(float(each) for each in means), tuple(float(each) for each in scales)


def _input(node: fx.Node) -> fx.Node:
    first = node.args[0]
    assert isinstance(first, fx.Node)
    return first
