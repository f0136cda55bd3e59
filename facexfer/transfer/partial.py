"""Parts of a backbone that are trained alone, while the rest stays the source's."""

import math
from collections.abc import Callable, Iterable

from torch import nn

from facexfer.errors import InputError


def scales_and_first_layers(first_share: float) -> Callable[[nn.Module], Iterable[nn.Parameter]]:
    """Pick the parameters of layers that scale each channel alone, and of the first convolutions.

    The former are normalisation layers and PReLUs: those whose parameters all have one dimension.

    A change of spectrum changes statistics and low-level patterns, which these layers hold; what makes a face a person
    lies deeper. "First" is the order in which the backbone registers its layers, which for every backbone here is that
    of its forward pass.

    Args:
        first_share: This part of the convolutions, rounded up; 0 picks none, 1 all.

    Returns:
        What gives a backbone's picked parameters.

    Raises:
        InputError: If the share is not between 0 and 1.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.PReLU(4), nn.Conv2d(4, 4, 1, bias=False))
        >>> [tuple(each.shape) for each in scales_and_first_layers(0.5)(network)]
        [(4,), (4,), (4,), (4, 3, 1, 1), (4,)]
        >>> [tuple(each.shape) for each in scales_and_first_layers(0)(network)]
        [(4,), (4,), (4,)]
    """
    if not 0 <= first_share <= 1:
        raise InputError(f"expected a share of the convolutions from 0 to 1, got {first_share}; 0.25 is usual")

    def pick(backbone: nn.Module) -> list[nn.Parameter]:
        layers = list(backbone.modules())
        convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
        scales = [layer for layer in layers if all(each.ndim <= 1 for each in layer.parameters(recurse=False))]
        first = convolutions[: math.ceil(first_share * len(convolutions))]
        return [parameter for layer in (*scales, *first) for parameter in layer.parameters(recurse=False)]

    return pick


def batchnorm_layers(backbone: nn.Module) -> list[nn.Parameter]:
    """The parameters of the BatchNorm layers alone.

    Example:
        >>> len(batchnorm_layers(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.PReLU(4))))
        2
    """
    layers = (layer for layer in backbone.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm))
    return [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
