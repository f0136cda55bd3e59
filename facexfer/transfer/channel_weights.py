"""DELTA's channel weights: how much the task's loss rises when a channel is silenced (Li et al., ICLR 2019).

For every tapped layer and channel j, the channel's output is set to zero and the loss measured again over a few
training batches. Per layer the rises r become weights ``softmax(((r - mean(r)) / std(r)) / 5)``; the standardising and
the 5 are the published implementation's. It sets the filter to zero; where the tapped layer is a convolution without
bias that is the same, for a block this silences the block's output.

The plain way takes a full forward pass per channel. Here everything before the tapped layer is computed once per batch,
only what depends on the layer is computed again, and many channels go through together as one large batch.
"""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facexfer.errors import InputError
from facexfer.transfer.taps import FeatureTap

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
"""(embeddings (N, D), labels (N,)) -> one value per sample (N,)."""

_TEMPERATURE = 5.0
_ON_CPU, _ELSEWHERE = 32, 256


def weights_from_rises(rises: Tensor) -> Tensor:
    """Turn one layer's rises of the loss into weights.

    Args:
        rises: (C,), one per channel.

    Returns:
        (C,) that sum to 1; equal ones where all rises are equal.

    Example:
        >>> weights_from_rises(torch.tensor([0.5, 0.5])).tolist()
        [0.5, 0.5]
    """
    spread = rises.std() if len(rises) > 1 else rises.new_zeros(())
    standard = (rises - rises.mean()) / spread.clamp(min=torch.finfo(rises.dtype).tiny)
    return (standard / _TEMPERATURE).softmax(dim=0)


@torch.no_grad()
def loss_rises(
    network: nn.Module,
    loss: Loss,
    layers: Sequence[str],
    batches: Sequence[Batch],
    channels: Sequence[Sequence[int]] | None = None,
    images_at_once: int | None = None,
) -> tuple[Tensor, ...]:
    """Measure the rise of the mean loss for every silenced channel.

    Args:
        network: In eval mode, normalised images (N, 3, H, W) -> embeddings (N, D); it stays as it is.
        loss: Per sample.
        layers: The tapped layers.
        batches: Normalised images and labels, on the network's device.
        channels: Which channels of each layer; None takes all.
        images_at_once: How many images go through together; None takes 32 on a CPU, beyond which its caches lose what
            is gained, and 256 elsewhere, where few leave the device waiting.

    Returns:
        One (C,) float32 a layer, zero for channels that were not asked for.

    Raises:
        InputError: If there are no batches, the network cannot be traced, or a layer does not run exactly once.
    """
    if not batches:
        raise InputError("expected at least one batch to measure channels on, got none; give more images")
    if images_at_once is None:
        images_at_once = _ON_CPU if batches[0][0].device.type == "cpu" else _ELSEWHERE
    graph = _Graph(network, layers)
    rises: list[Tensor] = []
    for images, labels in batches:
        values = graph.record(images.contiguous(memory_format=torch.channels_last))
        before = loss(values[graph.result], labels).sum()
        rises = rises or [before.new_zeros(values[node].shape[1]) for node in graph.taps]
        for index, (node, rise) in enumerate(zip(graph.taps, rises, strict=True)):
            numbers = list(range(len(rise))) if channels is None else list(channels[index])
            step = max(1, images_at_once // len(images))
            for start in range(0, len(numbers), step):
                part = numbers[start : start + step]
                embeddings = graph.rerun(node, values, part)
                after = loss(embeddings, labels.repeat(len(part))).view(len(part), -1).sum(dim=1)
                rise[part] += after - before
    return tuple(rise.float() / sum(len(labels) for _, labels in batches) for rise in rises)


@torch.no_grad()
def plain_loss_rises(
    network: nn.Module,
    loss: Loss,
    layers: Sequence[str],
    batches: Sequence[Batch],
    channels: Sequence[Sequence[int]],
) -> tuple[Tensor, ...]:
    """Measure the same one full forward pass per channel; the slow reference that `loss_rises` is compared with.

    Args:
        network: As there.
        loss: As there.
        layers: As there.
        batches: As there.
        channels: Which channels of each layer.

    Returns:
        One (C,) float32 a layer, zero for channels that were not asked for.
    """
    with FeatureTap(network, layers) as tap:
        network(batches[0][0])
        sizes = [maps.shape[1] for maps in tap.maps]
    before = torch.stack([loss(network(images), labels).sum() for images, labels in batches])
    rises = [before.new_zeros(size) for size in sizes]
    for layer, rise, chosen in zip(layers, rises, channels, strict=True):
        for channel in chosen:
            handle = network.get_submodule(layer).register_forward_hook(_silence(channel))
            try:
                after = torch.stack([loss(network(images), labels).sum() for images, labels in batches])
            finally:
                handle.remove()
            rise[channel] = (after - before).sum()
    return tuple(rise.float() / sum(len(labels) for _, labels in batches) for rise in rises)


def _silence(channel: int) -> Callable[[nn.Module, object, Tensor], Tensor]:
    def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        silenced = output.clone()
        silenced[:, channel] = 0
        return silenced

    return hook


class _Tracer(fx.Tracer):
    """Traces a network without looking inside the tapped layers and BatchNorms, whose checks cannot be traced."""

    def __init__(self, layers: Sequence[str]) -> None:
        super().__init__()
        self._layers = set(layers)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_norm = isinstance(m, nn.modules.batchnorm._BatchNorm)
        return is_norm or module_qualified_name in self._layers or super().is_leaf_module(m, module_qualified_name)


class _Graph:
    """A network as a graph of operations, of which a part can run again.

    Each BatchNorm is folded into the convolution before it, unless one of the two is tapped: in eval mode the function
    is the same, and much of a forward pass on a CPU is reading and writing maps.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        network = copy.deepcopy(network).to(memory_format=torch.channels_last)
        try:
            self._module = fx.GraphModule(network, _Tracer(layers).trace(network))
        except Exception as error:  # fx raises whatever the network's own code does with its proxies
            raise InputError(
                f"expected a network that torch.fx can trace, got: {error}; DELTA's weights need a plain forward pass"
            ) from error
        self._nodes = list(self._module.graph.nodes)
        self.taps = tuple(self._tapped(layer) for layer in layers)
        self._fold()
        self._nodes = [node for node in self._module.graph.nodes if node.op != "output"]
        (output,) = (node for node in self._module.graph.nodes if node.op == "output")
        self.result: fx.Node = output.args[0]

    def record(self, images: Tensor) -> dict[fx.Node, Tensor]:
        """Run all of it on (N, 3, H, W) and keep every value."""
        interpreter = fx.Interpreter(self._module, garbage_collect_values=False)
        interpreter.args_iter = iter([images])
        kept = {}
        for node in self._nodes:
            interpreter.env[node] = interpreter.run_node(node)
            # A later layer may overwrite a tapped one in place.
            kept[node] = interpreter.env[node].clone() if node in self.taps else interpreter.env[node]
        return kept

    def rerun(self, tap: fx.Node, values: dict[fx.Node, Tensor], channels: Sequence[int]) -> Tensor:
        """Run what depends on a tapped layer again, on one copy of the batch a silenced channel.

        Returns:
            (channels * N, D), channel by channel.
        """
        images, copies = len(values[tap]), len(channels)
        silenced = _repeat(values[tap], copies)
        for index, channel in enumerate(channels):
            silenced[index * images : (index + 1) * images, channel] = 0
        interpreter = fx.Interpreter(self._module, garbage_collect_values=False)
        interpreter.env = {tap: silenced}
        rest = self._after(tap)
        uses = Counter(parent for node in rest for parent in node.all_input_nodes)
        for node in rest:
            for parent in node.all_input_nodes:
                if parent not in interpreter.env:
                    interpreter.env[parent] = self._enlarged(parent, values, images, copies)
            interpreter.env[node] = interpreter.run_node(node)
            for parent in node.all_input_nodes:
                uses[parent] -= 1
                if uses[parent] == 0:
                    del interpreter.env[parent]
        result: Tensor = interpreter.env[self.result]
        return result

    def _enlarged(self, node: fx.Node, values: dict[fx.Node, Tensor], images: int, copies: int) -> Any:
        """A value from before the tapped layer, as so many copies of the batch give it."""
        value: Any = values[node]
        if isinstance(value, Tensor):
            holds_batch = node.op != "get_attr" and value.shape[:1] == (images,)
            return _repeat(value, copies) if holds_batch else value
        if not node.all_input_nodes:
            return value
        # A size, which may be the batch's, or several tensors: found again on the larger batch.
        interpreter = fx.Interpreter(self._module, garbage_collect_values=False)
        interpreter.env = {each: self._enlarged(each, values, images, copies) for each in node.all_input_nodes}
        return interpreter.run_node(node)

    def _after(self, tap: fx.Node) -> list[fx.Node]:
        reached = {tap}
        for node in self._nodes:
            if any(parent in reached for parent in node.all_input_nodes):
                reached.add(node)
        return [node for node in self._nodes if node in reached and node is not tap]

    def _tapped(self, layer: str) -> fx.Node:
        nodes = [node for node in self._nodes if node.op == "call_module" and node.target == layer]
        if len(nodes) != 1:
            raise InputError(
                f"expected layer '{layer}' to run once, it runs {len(nodes)} times; tap a layer of the network that is "
                "no part of another tapped one"
            )
        tapped: fx.Node = nodes[0]
        return tapped

    def _fold(self) -> None:
        modules = dict(self._module.named_modules())
        for node in self._nodes:
            first = node.args[0] if node.args else None
            # Only torch's own layer: those derived from it may do more, such as timm's, which has an activation inside.
            if node.op != "call_module" or type(modules[node.target]) is not nn.BatchNorm2d or node in self.taps:
                continue
            if not isinstance(first, fx.Node) or first in self.taps or len(first.users) > 1:
                continue
            if first.op == "call_module" and isinstance(modules[first.target], nn.Conv2d):
                folded = fuse_conv_bn_eval(modules[first.target], modules[node.target])
                self._module.add_submodule(str(first.target), folded.to(memory_format=torch.channels_last))
                node.replace_all_uses_with(first)
                self._module.graph.erase_node(node)


def _repeat(value: Tensor, copies: int) -> Tensor:
    # repeat() forgets the channels_last layout.
    return torch.cat([value] * copies)
