"""Outputs of named layers, read by hooks that live only inside a ``with`` block."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from facexfer.errors import InputError
from facexfer.registry import unknown_name_message


class FeatureTap:
    """Read the outputs of named layers while a network runs.

    The hooks are set on entering the ``with`` block and removed on leaving it, also after an exception: a hook that
    stays would keep every graph alive and would be copied along with the network.

    Args:
        network: Any network.
        layers: Dotted module names, in the order in which `maps` gives their outputs.

    Raises:
        InputError: If a name is no layer of the network, or comes twice.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        >>> with FeatureTap(network, ["0"]) as tap:
        ...     output = network(torch.zeros(2, 3, 8, 8))
        ...     tap.maps[0].shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        modules = dict(network.named_modules())
        for layer in layers:
            if not layer or layer not in modules:
                raise InputError(unknown_name_message("layer", layer, (name for name in modules if name)))
        if len(set(layers)) != len(layers):
            raise InputError(f"expected distinct layers to tap, got {', '.join(layers)}; name each layer once")
        self._modules = [(layer, modules[layer]) for layer in layers]
        # Made once: a compiled network is made again for hooks that it has not seen.
        self._hooks = [self._record(layer) for layer in layers]
        self._outputs: dict[str, tuple[Tensor, int]] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        for (_, module), hook in zip(self._modules, self._hooks, strict=True):
            self._handles.append(module.register_forward_hook(hook))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._outputs.clear()

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """The layers' outputs of the last forward pass, in the order of the names.

        Raises:
            InputError: If a layer did not run, or if a later layer has overwritten its output in place (torchvision's
                ResNets do that to the output of ``bn3``).
        """
        for layer, _ in self._modules:
            if layer not in self._outputs:
                raise InputError(f"expected an output of layer '{layer}', it did not run; tap a layer that always runs")
            output, version = self._outputs[layer]
            # The compiler keeps what was read, and has no versions; `map_shapes` has looked before.
            if not torch.compiler.is_compiling() and output._version != version:
                raise InputError(
                    f"expected the output of layer '{layer}' to stay as it was, a later layer overwrote it in place; "
                    "tap the layer before or after it"
                )
        return tuple(self._outputs[layer][0] for layer, _ in self._modules)

    def _record(self, layer: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self._outputs[layer] = (output, 0 if torch.compiler.is_compiling() else output._version)

        return hook


def map_shapes(
    network: nn.Module, layers: Sequence[str], input_size: tuple[int, int]
) -> tuple[tuple[int, int, int], ...]:
    """Find the shapes of tapped feature maps by one forward pass of a black image.

    Args:
        network: Any network; its mode and its BatchNorm statistics stay as they are.
        layers: Dotted module names.
        input_size: (height, width) of the image in pixels.

    Returns:
        One (C, H, W) a layer.

    Raises:
        InputError: If a layer is unknown or its output is no feature map (N, C, H, W).
    """
    parameter = next(network.parameters())
    image = torch.zeros(1, 3, *input_size, device=parameter.device, dtype=parameter.dtype)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad(), FeatureTap(network, layers) as tap:
            network(image)
            maps = tap.maps
    finally:
        for module, mode in modes:
            module.training = mode
    for layer, feature_map in zip(layers, maps, strict=True):
        if feature_map.ndim != 4:
            raise InputError(
                f"expected layer '{layer}' to give maps (N, C, H, W), got shape {tuple(feature_map.shape)}; "
                "tap a convolutional layer"
            )
    return tuple((feature.shape[1], feature.shape[2], feature.shape[3]) for feature in maps)
