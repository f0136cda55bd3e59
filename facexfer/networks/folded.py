"""A frozen network in its cheapest form: BatchNorm folded into the convolution or linear layer before it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facexfer.transfer.taps import FeatureTap

_LARGEST_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class FrozenNetwork:
    """A folded copy, and how far it is from the network it was made of.

    Attributes:
        network: In eval mode, without gradients; the same layer names, so that it is tapped alike.
        folded: How many BatchNorm layers are gone.
        difference: The largest difference of an output or a tapped map over the largest value there, on noise.
    """

    network: nn.Module
    folded: int
    difference: float


def fold_batchnorm(network: nn.Module, layers: Sequence[str], input_size: tuple[int, int]) -> FrozenNetwork:
    """Copy a network and fold every BatchNorm that directly follows a convolution or linear layer into it.

    In eval mode BatchNorm is a fixed scale and shift of each channel, so it moves into the weights before it. Pairs are
    found by running the network once: the BatchNorm's input must be the very tensor that the layer gave, and both must
    run once. A layer that is tapped before its BatchNorm keeps it, as its own output would change; and where the copy's
    outputs or maps come out another way than by rounding, nothing is folded.

    Args:
        network: Any network; it stays as it is.
        layers: The layers that are tapped.
        input_size: (height, width) of the images in pixels.

    Returns:
        The copy.

    Example:
        >>> block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        >>> fold_batchnorm(block, ["2"], (8, 8)).folded
        1
    """
    plain = copy.deepcopy(network).eval().requires_grad_(False)
    parameter = next(plain.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *input_size, generator=generator).to(parameter.device, parameter.dtype)
    before = _outputs(plain, layers, images)
    folded = copy.deepcopy(plain)
    tapped = {folded.get_submodule(layer) for layer in layers}
    count = 0
    for name, batchnorm_name in _pairs(folded, images):
        layer = cast(Any, folded.get_submodule(name))
        if layer in tapped:
            continue
        # A linear layer is fused alike: only the first dimension of its weight counts.
        folded.set_submodule(name, fuse_conv_bn_eval(layer, cast(Any, folded.get_submodule(batchnorm_name))))
        folded.set_submodule(batchnorm_name, nn.Identity())
        count += 1
    after = _outputs(folded, layers, images)
    difference = max(
        float((one - other).abs().max() / other.abs().max().clamp(min=1e-12))
        for one, other in zip(after, before, strict=True)
    )
    # A layer whose output is read by more than modules, e.g. added as it is, cannot be folded.
    return (
        FrozenNetwork(folded, count, difference) if difference < _LARGEST_DIFFERENCE else FrozenNetwork(plain, 0, 0.0)
    )


@torch.no_grad()
def _outputs(network: nn.Module, layers: Sequence[str], images: Tensor) -> list[Tensor]:
    with FeatureTap(network, layers) as tap:
        output = network(images)
        return [*tap.maps, output]


@torch.no_grad()
def _pairs(network: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    runs: dict[str, int] = {}
    made: list[tuple[str, Tensor]] = []
    readers: dict[str, list[str]] = {}
    pairs: list[tuple[str, str]] = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            runs[name] = runs.get(name, 0) + 1
            # Kept alive here, so that no other tensor can come to the same identity.
            makers = [maker for maker, tensor in made if inputs and tensor is inputs[0]]
            for maker in makers:
                readers.setdefault(maker, []).append(name)
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    pairs.append((maker, name))
            if isinstance(module, nn.Conv2d | nn.Linear):
                made.append((name, output))

        return hook

    leaves = [(name, module) for name, module in network.named_modules() if name and not list(module.children())]
    handles = [module.register_forward_hook(watch(name)) for name, module in leaves]
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
    return [
        (name, batchnorm)
        for name, batchnorm in pairs
        if runs[name] == runs[batchnorm] == 1 and readers[name] == [batchnorm]
    ]
