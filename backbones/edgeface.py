"""EdgeFace (George et al., arXiv 2307.01838): EdgeNeXt (arXiv 2206.10589) with low-rank linear layers, for faces.

Layers have the names of the published files, which are those of timm's EdgeNeXt.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule, Tap
from facexfer.backbones.registry import BACKBONES

_SIDE = 112
_KERNELS = (3, 5, 7, 9)
_PARTS = (2, 2, 3, 4)
_STRIDES = (4, 8, 16, 32)
_EPS = 1e-6
_WIDENING = 4
_FREQUENCIES = 32
_EMBEDDING = 512
_TABLE = "pos_embd.table"


class LowRankLinear(nn.Module):
    """A linear layer as two, through fewer features than go in or come out.

    Args:
        features_in: D_in.
        features_out: D_out.
        rank_ratio: The features in between as a part of the smaller of the two.
    """

    def __init__(self, features_in: int, features_out: int, rank_ratio: float) -> None:
        super().__init__()
        rank = max(2, int(min(features_in, features_out) * rank_ratio))
        self.linear1 = nn.Linear(features_in, rank, bias=False)
        self.linear2 = nn.Linear(rank, features_out)

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., D_in) to (..., D_out)."""
        mapped: Tensor = self.linear2(self.linear1(features))
        return mapped


def _linear(features_in: int, features_out: int, rank_ratio: float | None) -> nn.Module:
    if rank_ratio is None:
        return nn.Linear(features_in, features_out)
    return LowRankLinear(features_in, features_out, rank_ratio)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels at each position.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=_EPS)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Widened(nn.Module):
    """Two linear layers with GELU between them.

    Args:
        features: D.
        rank_ratio: Of `LowRankLinear`; None for whole layers.
    """

    def __init__(self, features: int, rank_ratio: float | None) -> None:
        super().__init__()
        self.fc1 = _linear(features, _WIDENING * features, rank_ratio)
        self.fc2 = _linear(_WIDENING * features, features, rank_ratio)

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., D) to the same shape."""
        mapped: Tensor = self.fc2(F.gelu(self.fc1(features)))
        return mapped


class ConvolutionBlock(nn.Module):
    """A depthwise filter and two linear layers at each position, added to the input.

    Args:
        channels: C.
        kernel: The filter's side in positions.
        rank_ratio: Of `LowRankLinear`; None for whole layers.
    """

    used_in_order = ("conv_dw", "norm", "mlp", "gamma")

    def __init__(self, channels: int, kernel: int, rank_ratio: float | None) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.mlp = Widened(channels, rank_ratio)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        features = self.gamma * self.mlp(self.norm(self.conv_dw(maps).permute(0, 2, 3, 1)))
        filtered: Tensor = maps + features.permute(0, 3, 1, 2)
        return filtered


class Positions(nn.Module):
    """Sines and cosines of a position's row and column, mapped to channels.

    Args:
        channels: C.
        side: Of the maps that they are usually for, in positions.
    """

    waves: Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.token_projection = nn.Conv2d(2 * _FREQUENCIES, channels, 1)
        self.register_buffer("waves", _waves(side, side), persistent=False)

    def forward(self, height: int, width: int) -> Tensor:
        """Make the table (1, C, height, width)."""
        waves = self.waves
        if waves.shape[2:] != (height, width):
            waves = _waves(height, width).to(waves)
        table: Tensor = self.token_projection(waves)
        return table


def _waves(height: int, width: int) -> Tensor:
    """(1, 2 * `_FREQUENCIES`, height, width): sine and cosine by turns, of the row and then of the column."""
    period = 10000 ** (2 * torch.arange(_FREQUENCIES // 2) / _FREQUENCIES)

    def along(side: int) -> Tensor:
        angle = torch.arange(1, side + 1)[:, None] * (2 * math.pi / (side + _EPS)) / period
        return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)

    rows = along(height)[:, None].expand(-1, width, -1)
    columns = along(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).permute(2, 0, 1)[None]


class CrossCovarianceAttention(nn.Module):
    """Attention of channels to channels, over all positions (XCA).

    Args:
        channels: C.
        heads: How many groups of channels.
        rank_ratio: Of `LowRankLinear`; None for whole layers.
    """

    used_in_order = ("qkv", "temperature", "proj")

    def __init__(self, channels: int, heads: int, rank_ratio: float | None) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = _linear(channels, 3 * channels, rank_ratio)
        self.proj = _linear(channels, channels, rank_ratio)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, L, C) of L positions to the same shape."""
        query, key, value = (self._by_head(part) for part in self.qkv(features).chunk(3, dim=2))
        alike = _unit(query) @ _unit(key).transpose(2, 3)
        mixed = (alike * self.temperature).softmax(dim=3) @ value
        mapped: Tensor = self.proj(mixed.flatten(1, 2).transpose(1, 2))
        return mapped

    def _by_head(self, features: Tensor) -> Tensor:
        """Map (N, L, C) to (N, heads, C / heads, L)."""
        _, positions, channels = features.shape
        return features.transpose(1, 2).reshape(-1, self.heads, channels // self.heads, positions)


def _unit(features: Tensor) -> Tensor:
    """What `torch.nn.functional.normalize` gives along the last axis, in operators that pnnx converts correctly."""
    unit: Tensor = features / features.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return unit


class AttentionBlock(nn.Module):
    """Depthwise filters in a cascade over parts of the channels, attention of channels, two linear layers.

    Args:
        channels: C.
        parts: In how many parts the channels are filtered; the last one stays as it is.
        heads: Of the attention.
        positions: The side of maps to which positions are added before the attention; None for no positions.
        rank_ratio: Of `LowRankLinear`; None for whole layers.
    """

    used_in_order = ("convs", "pos_embd", "norm_xca", "xca", "gamma_xca", "norm", "mlp", "gamma")

    def __init__(self, channels: int, parts: int, heads: int, positions: int | None, rank_ratio: float | None) -> None:
        super().__init__()
        width = math.ceil(channels / parts)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(parts - 1))
        self.pos_embd = None if positions is None else Positions(channels, positions)
        self.norm_xca = nn.LayerNorm(channels, eps=_EPS)
        self.gamma_xca = nn.Parameter(torch.full((channels,), 1e-6))
        self.xca = CrossCovarianceAttention(channels, heads, rank_ratio)
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.mlp = Widened(channels, rank_ratio)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))
        self._widths = [width] * (parts - 1) + [channels - width * (parts - 1)]

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        first, *rest = torch.split(maps, self._widths, dim=1)
        filtered = [self.convs[0](first)]
        for convolution, part in zip(self.convs[1:], rest, strict=False):
            filtered.append(convolution(filtered[-1] + part))
        mixed = torch.cat([*filtered, rest[-1]], dim=1)
        batch, channels, height, width = mixed.shape
        if self.pos_embd is not None:
            mixed = mixed + self.pos_embd(height, width)
        features = mixed.flatten(2).transpose(1, 2)
        features = features + self.gamma_xca * self.xca(self.norm_xca(features))
        features = self.gamma * self.mlp(self.norm(features))
        mapped: Tensor = maps + features.transpose(1, 2).reshape(batch, channels, height, width)
        return mapped


class Stage(nn.Module):
    """Half the resolution, blocks with filters, and at the end a block with attention.

    Args:
        number: 0 for the first stage, which neither halves nor attends.
        channels_in: Of the input.
        channels: C of the output.
        depth: How many blocks.
        heads: Of the attention.
        rank_ratio: Of `LowRankLinear`; None for whole layers.
    """

    used_in_order = ("downsample", "blocks")

    def __init__(
        self, number: int, channels_in: int, channels: int, depth: int, heads: int, rank_ratio: float | None
    ) -> None:
        super().__init__()
        self.downsample = nn.Sequential()
        if number:
            self.downsample.extend([ChannelNorm(channels_in), nn.Conv2d(channels_in, channels, 2, 2)])
        plain = depth - bool(number)
        self.blocks = nn.Sequential(*(ConvolutionBlock(channels, _KERNELS[number], rank_ratio) for _ in range(plain)))
        if number:
            positions = _SIDE // _STRIDES[1] if number == 1 else None
            self.blocks.append(AttentionBlock(channels, _PARTS[number], heads, positions, rank_ratio))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C, H, W), or half of H and W but in the first stage."""
        mapped: Tensor = self.blocks(self.downsample(maps))
        return mapped


class Head(nn.Module):
    """The mean over positions, normalised, mapped to the embedding.

    Args:
        channels: C.
        rank_ratio: Of `LowRankLinear`; None for a whole layer.
    """

    def __init__(self, channels: int, rank_ratio: float | None) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.fc = _linear(channels, _EMBEDDING, rank_ratio)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 512)."""
        embeddings: Tensor = self.fc(self.norm(maps.mean((2, 3), keepdim=True)).flatten(1))
        return embeddings


class EdgeFace(BackboneModule):
    """Map aligned faces (N, 3, 112, 112) to embeddings (N, 512).

    Args:
        name: Under which it is registered.
        channels: Of the four stages.
        depths: Blocks of each.
        heads: Of the attention.
        rank_ratio: Features inside a linear layer as a part of the smaller of what goes in and comes out; None for
            whole layers.

    Example:
        >>> EdgeFace("edgeface_xxs", (24, 48, 88, 168), (2, 2, 6, 2), 4, None)(torch.zeros(1, 3, 112, 112)).shape
        torch.Size([1, 512])
    """

    used_in_order = ("stem", "stages", "head")

    def __init__(
        self, name: str, channels: Sequence[int], depths: Sequence[int], heads: int, rank_ratio: float | None
    ) -> None:
        stages = range(len(channels))
        super().__init__(
            BackboneInfo(
                name=name,
                input_size=(_SIDE, _SIDE),
                color_order="RGB",
                mean=(127.5, 127.5, 127.5),
                scale=(1 / 127.5, 1 / 127.5, 1 / 127.5),
                embedding_size=_EMBEDDING,
                taps=tuple(Tap(f"stages.{i}", channels[i], _STRIDES[i]) for i in stages),
                blocks=tuple(
                    Tap(f"stages.{i}.blocks.{block}", channels[i], _STRIDES[i])
                    for i in stages
                    for block in range(depths[i])
                ),
            )
        )
        self.stem = nn.Sequential(nn.Conv2d(3, channels[0], 4, 4), ChannelNorm(channels[0]))
        self.stages = nn.Sequential(
            *(Stage(i, channels[max(i - 1, 0)], channels[i], depths[i], heads, rank_ratio) for i in stages)
        )
        self.head = Head(channels[-1], rank_ratio)

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, 112, 112) as (N, 512)."""
        embeddings: Tensor = self.head(self.stages(self.stem(images)))
        return embeddings

    def constants_in_order(self) -> dict[str, tuple[int, ...]]:
        """Name what a graph of this network holds, with shapes, in the order in which it is used.

        The graph has a table of positions instead of the layer that makes it.
        """
        height, width = self.info.input_size
        found: dict[str, tuple[int, ...]] = {}
        for name, parameter in _in_order(self, ""):
            block, positions, _ = name.partition("pos_embd.")
            if not positions:
                found[name] = tuple(parameter.shape)
            elif name.endswith("weight"):
                found[block + _TABLE] = (len(parameter), height // _STRIDES[1], width // _STRIDES[1])
        return found

    def entries_of_constants(self, constants: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Make the network's entries of what `constants_in_order` names.

        Of the layers that make the table of positions, which are many, it takes the one with the smallest weights.
        """
        entries = dict(constants)
        for name in [name for name in entries if name.endswith(_TABLE)]:
            table = entries.pop(name).astype(np.float64)
            waves = _waves(*table.shape[1:])[0].flatten(1).double().numpy()
            known = np.concatenate([waves, np.ones((1, waves.shape[1]))])
            found = table.reshape(len(table), -1) @ np.linalg.pinv(known)
            layer = name.removesuffix("table") + "token_projection"
            entries[f"{layer}.weight"] = found[:, :-1, None, None]
            entries[f"{layer}.bias"] = found[:, -1]
        return entries


def _in_order(module: nn.Module, name: str) -> Iterator[tuple[str, Tensor]]:
    """All parameters in the order in which they are used, which is not that of their names."""
    for part in getattr(module, "used_in_order", dict(module.named_children())):
        child = getattr(module, part)
        if isinstance(child, nn.Parameter):
            yield f"{name}{part}", child
        elif child is not None:
            yield from _in_order(child, f"{name}{part}.")
    if next(module.children(), None) is None:
        yield from ((f"{name}{part}", parameter) for part, parameter in module.named_parameters())


def _register(
    name: str, channels: Sequence[int], depths: Sequence[int], heads: int, rank_ratio: float | None = None
) -> None:
    BACKBONES.add(name, lambda: EdgeFace(name, channels, depths, heads, rank_ratio))


_register("edgeface_xxs", (24, 48, 88, 168), (2, 2, 6, 2), 4)
_register("edgeface_xs_gamma_06", (32, 64, 100, 192), (3, 3, 9, 3), 4, 0.6)
_register("edgeface_s_gamma_05", (48, 96, 160, 304), (3, 3, 9, 3), 8, 0.5)
_register("edgeface_base", (80, 160, 288, 584), (3, 3, 9, 3), 8)
