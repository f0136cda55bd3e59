"""The facts that a backbone carries, so that nobody else keeps a table of layer names or normalisations."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from facexfer.errors import InputError


@dataclass(frozen=True)
class Tap:
    """A named layer whose output the transfer methods align.

    Attributes:
        layer: The module's dotted name, as in ``network.get_submodule``.
        channels: Channels C of its output (N, C, H, W).
        stride: Input pixels per output position along one axis.
    """

    layer: str
    channels: int
    stride: int


@dataclass(frozen=True)
class BackboneInfo:
    """What a user of a backbone must know.

    Images are normalised as ``(image - mean) * scale`` with image values 0..255.

    Attributes:
        name: The name under which `create_backbone` makes it.
        input_size: (height, width) in pixels.
        color_order: ``"RGB"`` or ``"BGR"``.
        mean: One value per channel, in grey levels 0..255.
        scale: One value per channel, per grey level.
        embedding_size: D of the output (N, D).
        taps: The default taps, shallow to deep.
        blocks: Every place where a tap makes sense (the end of each block), shallow to deep, for more or fewer taps.
        licence: The licence of the loaded weights; "none" for random ones, "unknown" where it is not known.
        source: Where the loaded weights come from; empty for random ones.
    """

    name: str
    input_size: tuple[int, int]
    color_order: str
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    embedding_size: int
    taps: tuple[Tap, ...]
    blocks: tuple[Tap, ...]
    licence: str = "none"
    source: str = ""

    def even_taps(self, count: int) -> tuple[Tap, ...]:
        """``count`` taps: the default ones if that is their number, else evenly spaced `blocks` up to the last.

        Raises:
            InputError: If ``count`` is below 1 or above the number of blocks.
        """
        if count == len(self.taps):
            return self.taps
        if not self.has_taps(count):
            raise InputError(
                f"expected 1 to {len(self.blocks)} taps for {self.name}, got {count}; it has {len(self.blocks)} blocks"
            )
        step = len(self.blocks) / count
        return tuple(self.blocks[round((i + 1) * step) - 1] for i in range(count))

    def has_taps(self, count: int) -> bool:
        """Whether the network has ``count`` layers to tap."""
        return count == len(self.taps) or 1 <= count <= len(self.blocks)

    def layers(self, count: int) -> tuple[str, ...]:
        """The names of `even_taps`."""
        return tuple(tap.layer for tap in self.even_taps(count))


@runtime_checkable
class Backbone(Protocol):
    """A network that maps normalised images (N, 3, H, W) to embeddings (N, D) and knows its facts."""

    info: BackboneInfo

    def __call__(self, images: Tensor) -> Tensor:
        """Map normalised images (N, 3, H, W) to embeddings (N, D)."""
        ...


class BackboneModule(nn.Module):
    """The base of our own networks: an ``nn.Module`` with `info`.

    Args:
        info: The network's facts.
    """

    def __init__(self, info: BackboneInfo) -> None:
        super().__init__()
        self.info = info
        self.folded: tuple[str, ...] = ()
        """BatchNorm layers that the weights' file has folded into convolutions, to be revived before training."""
        self.fixed_parameters: tuple[str, ...] = ()
        """Names of parameters that belong to the architecture and are never trained."""
        # In a tuple the classifier is out of reach of parameters(), state_dict() and data-parallel wrappers.
        self._classifier: tuple[nn.Module, ...] = ()

    def train(self, mode: bool = True) -> "BackboneModule":
        """Choose train or eval mode.

        Raises:
            InputError: If BatchNorm is still folded: the first step would destroy what the network has learned.
        """
        if mode and self.folded:
            raise InputError(
                f"expected BatchNorm with statistics before training {self.info.name}, {len(self.folded)} layers are "
                "folded into convolutions; give images to facexfer.backbones.revive.revive_batchnorm first"
            )
        super().train(mode)
        return self

    @property
    def classifier(self) -> nn.Module | None:
        """The classifier that the loaded weights were trained with, embeddings -> logits; None if they came without."""
        return self._classifier[0] if self._classifier else None
