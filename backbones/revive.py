"""Bring BatchNorm back to life that an exporter folded into the convolution before it."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneModule
from facexfer.errors import InputError

_BatchNorm = nn.modules.batchnorm._BatchNorm


def folded_layers(network: nn.Module) -> tuple[str, ...]:
    """Name the BatchNorm layers that do nothing but add their bias, as after folding.

    Args:
        network: A network whose weights were loaded; a fresh one has such layers by nature.

    Returns:
        Dotted names, in the order of the modules: mean 0, variance 1 or 1 - eps, scale 1.

    Example:
        >>> folded_layers(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
        ('1',)
    """
    return tuple(name for name, module in network.named_modules() if _is_folded(module))


def revive_batchnorm(
    network: nn.Module, batches: Iterable[Tensor], layers: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Set the statistics of folded BatchNorm layers from data, so that training starts from the same function.

    A folded layer passes its input on: in train mode it would normalise what was never meant to be, and the network
    would be lost at the first step. With m and v the mean and variance of a layer's input x over the batches, and
    y = a x + c what it computes now, it gets the mean m, the variance v, the scale a sqrt(v + eps) and the shift
    c + a m. In eval mode it still computes y, and in train mode too as far as a batch is like the data.

    Args:
        network: The network; its mode is restored.
        batches: Normalised images (N, 3, H, W), a few hundred in all are enough; on the network's device.
        layers: Dotted names of BatchNorm layers with a learned scale; None takes those that the import has found
            folded (`BackboneModule.folded`), or else `folded_layers`.

    Returns:
        The names of the revived layers.

    Raises:
        InputError: If there are no images, a name is no BatchNorm layer with a scale, or a statistic is not finite.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        >>> revive_batchnorm(network, [torch.randn(8, 3, 5, 5)])
        ('1',)
        >>> network[1].weight.shape
        torch.Size([4])
    """
    known: tuple[str, ...] = getattr(network, "folded", ())
    names = (known or folded_layers(network)) if layers is None else tuple(layers)
    found = {name: _scaled_layer(network, name) for name in names}
    if not found:
        return ()
    moments = {name: _Moments() for name in found}
    handles = [
        module.register_forward_pre_hook(lambda _, inputs, kept=moments[name]: kept.add(inputs[0]))
        for name, module in found.items()
    ]
    modes = [(module, module.training) for module in network.modules()]
    try:
        # Module by module, since a network may refuse a mode as a whole.
        for module, _ in modes:
            module.training = False
        with torch.no_grad():
            for images in batches:
                network(images)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    measured = {name: moments[name].statistics(name) for name in found}
    with torch.no_grad():
        for name, module in found.items():
            _give(module, *measured[name])
    if isinstance(network, BackboneModule):
        network.folded = tuple(name for name in network.folded if name not in found)
    return names


class _Moments:
    """Sums over all positions of a layer's inputs, in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: Tensor = torch.zeros(())
        self._shift: Tensor | None = None
        self._squares: Tensor = torch.zeros(())

    def add(self, maps: Tensor) -> None:
        values = maps.detach().double().transpose(0, 1).flatten(1)
        if self._shift is None:
            # Sums around a first guess of the mean, so that a small variance next to a large mean is not lost.
            self._shift = values.mean(1)
        values = values - self._shift[:, None]
        self._count += values.shape[1]
        self._sum = self._sum.to(values) + values.sum(1)
        self._squares = self._squares.to(values) + values.square().sum(1)

    def statistics(self, name: str) -> tuple[Tensor, Tensor]:
        if self._shift is None or self._count < 2:
            raise InputError(f"expected images to revive layer '{name}' with, got none; give a few hundred")
        offset = self._sum / self._count
        mean, variance = self._shift + offset, (self._squares / self._count - offset.square()).clamp(min=0)
        if not (torch.isfinite(mean).all() and torch.isfinite(variance).all()):
            raise InputError(f"expected finite maps at layer '{name}', got NaN or infinity; check the images")
        return mean, variance


def _is_folded(module: nn.Module) -> bool:
    # A layer without learned scale or without statistics has None in their place.
    if not isinstance(module, _BatchNorm) or not module.affine or module.running_mean is None:
        return False
    assert module.running_var is not None
    variance = module.running_var.double()
    near = torch.minimum((variance - 1).abs(), (variance + module.eps - 1).abs())
    # Half precision holds 1 - eps to 5e-4 only.
    return bool((module.running_mean == 0).all() and (near < 1e-3).all() and (module.weight == 1).all())


def _scaled_layer(network: nn.Module, name: str) -> nn.Module:
    try:
        module = network.get_submodule(name)
    except AttributeError as error:
        raise InputError(f"expected a BatchNorm layer, got '{name}', which is not there; see named_modules") from error
    if not isinstance(module, _BatchNorm) or not module.affine or module.running_mean is None:
        raise InputError(
            f"expected a BatchNorm layer with a learned scale, got {type(module).__name__} '{name}'; leave it out"
        )
    return module


def _give(module: nn.Module, mean: Tensor, variance: Tensor) -> None:
    assert isinstance(module, _BatchNorm)
    assert module.running_mean is not None
    assert module.running_var is not None
    factor = module.weight.double() / (module.running_var.double() + module.eps).sqrt()
    shift = module.bias.double() - factor * module.running_mean.double()
    # The scale must undo the variance as it is stored, not as it was measured.
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance)
    module.weight.copy_(factor * (module.running_var.double() + module.eps).sqrt())
    module.bias.copy_(shift + factor * module.running_mean.double())
