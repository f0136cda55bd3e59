"""Your own torch network as a backbone: wrapped as it is, with the facts that its user knows."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import torch
from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule
from facexfer.errors import InputError

_PREFIX = "network."
_USUAL = {"mean": "127.5", "scale": "1/127.5"}


class OwnNetwork(BackboneModule):
    """Any module that maps normalised images (N, 3, H, W) to embeddings (N, D).

    Args:
        info: Its facts.
        network: The module; its weights stay shared with it.
    """

    def __init__(self, info: BackboneInfo, network: nn.Module) -> None:
        super().__init__(info)
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, H, W) as (N, D)."""
        embeddings: Tensor = self.network(images)
        return embeddings

    def adapt_entries(self, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn the entries of the network's own file into ours; ours pass as they are."""
        if all(name.startswith(_PREFIX) for name in entries):
            return dict(entries)
        return {f"{_PREFIX}{name}": tensor for name, tensor in entries.items()}


def own_network(
    network: nn.Module,
    input_size: tuple[int, int],
    mean: float | Sequence[float] | np.ndarray | Tensor | None = None,
    scale: float | Sequence[float] | np.ndarray | Tensor | None = None,
    color_order: str = "RGB",
) -> OwnNetwork:
    """Wrap a network.

    Args:
        network: Maps normalised images (N, 3, H, W) to embeddings (N, D).
        input_size: (height, width) in pixels.
        mean: In grey levels 0..255, one for all channels or one per channel; images are ``(image - mean) * scale``.
        scale: Per grey level, likewise.
        color_order: ``"RGB"`` or ``"BGR"``.

    Returns:
        The backbone, without taps, in the mode that the network is in.

    Raises:
        InputError: If mean or scale is not given or neither one number nor three, the colour order is neither, or the
            network does not give (N, D).
    """
    if mean is None or scale is None:
        raise InputError(
            "expected mean and scale with your own network, how images 0..255 become its input; "
            "mean=127.5, scale=1/127.5, for example"
        )
    if color_order not in ("RGB", "BGR"):
        raise InputError(f"expected color_order RGB or BGR, got '{color_order}'; choose one")
    means, scales = _channels("mean", mean), _channels("scale", scale)
    size = embedding_size(network, input_size)
    info = BackboneInfo(type(network).__name__, input_size, color_order, means, scales, size, (), (), "unknown")
    made = OwnNetwork(info, network)
    return made if network.training else made.eval()


def embedding_size(network: nn.Module, input_size: tuple[int, int]) -> int:
    """Ask a network itself for D; its mode is restored.

    Args:
        network: Maps normalised images (N, 3, H, W) to embeddings (N, D).
        input_size: (height, width) in pixels.

    Raises:
        InputError: If it does not.
    """
    modes = [(module, module.training) for module in network.modules()]
    example = next(network.parameters(), torch.zeros(()))
    network.eval()
    try:
        with torch.no_grad():
            output = network(example.new_zeros(2, 3, *input_size))
    except (RuntimeError, TypeError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"expected a network for images (N, 3, {input_size[0]}, {input_size[1]}), got: {first}; give input_size"
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 2:
        came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"expected embeddings (N, D) of {type(network).__name__}, got {came}; flatten its output")
    return output.shape[1]


def _channels(name: str, value: object) -> tuple[float, float, float]:
    """One number per channel, of whatever kind they are given in."""
    given = value.tolist() if isinstance(value, np.ndarray | Tensor) else value
    parts = (given,) * 3 if isinstance(given, Real) else given
    if isinstance(parts, Sequence) and all(isinstance(part, Real) and math.isfinite(part) for part in parts):
        numbers = tuple(float(part) for part in parts)
        if len(numbers) == 3:
            return numbers
    raise InputError(
        f"expected {name} as one number or three, one per channel, got {value!r}; {name}={_USUAL[name]}, for example"
    )
