"""Image classifiers of torchvision and timm as backbones: four with the published taps, any other by discovery."""

import urllib.error
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from facexfer.backbones.parts.info import BackboneInfo, BackboneModule, Tap
from facexfer.backbones.registry import BACKBONES
from facexfer.errors import InputError

_TRUNK = "trunk."
# Inception's auxiliary head and GoogLeNet's two, which only torchvision's own training uses.
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")


@dataclass(frozen=True)
class _Input:
    """What a library's own weights of a network are used with.

    Attributes:
        mean: Of each channel, in parts of 1.
        deviation: What each channel is divided by, likewise.
        size: (height, width) in pixels.
    """

    mean: Sequence[float] = (0.485, 0.456, 0.406)
    deviation: Sequence[float] = (0.229, 0.224, 0.225)
    size: tuple[int, int] = (224, 224)

    def info(
        self, name: str, embedding_size: int, taps: tuple[Tap, ...] = (), blocks: tuple[Tap, ...] = ()
    ) -> BackboneInfo:
        """The facts of a network, in grey levels."""
        red, green, blue = self.mean
        mean = (red * 255, green * 255, blue * 255)
        red, green, blue = self.deviation
        scale = (1 / (red * 255), 1 / (green * 255), 1 / (blue * 255))
        return BackboneInfo(name, self.size, "RGB", mean, scale, embedding_size, taps, blocks)


_HALF = (0.5, 0.5, 0.5)


class ImageNetwork(BackboneModule):
    """A classifier without its last layer: normalised images (N, 3, H, W) -> embeddings (N, D).

    Args:
        info: Its facts; the taps' names start with ``trunk.``.
        trunk: The network, its last linear layer replaced by nothing.
        classifier_name: The name that this layer had, to find its weights in a file.
        named_weights: Gives the library's own weights by name, from the network connection.
    """

    def __init__(
        self,
        info: BackboneInfo,
        trunk: nn.Module,
        classifier_name: str,
        named_weights: Callable[[str], Mapping[str, Tensor]],
    ) -> None:
        super().__init__(info)
        self.trunk = trunk
        self.classifier_name = classifier_name
        self.named_weights = named_weights

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised images (N, 3, H, W) as (N, D)."""
        embeddings: Tensor = self.trunk(images)
        return embeddings

    def adapt_entries(self, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn a classifier's entries into ours: its last layer becomes `classifier`, auxiliary heads are left out.

        Args:
            entries: As in the library's files; ours pass as they are.

        Returns:
            The trunk's entries by our names.
        """
        if all(name.startswith(_TRUNK) for name in entries):
            return dict(entries)
        last = {name: tensor for name, tensor in entries.items() if name.startswith(f"{self.classifier_name}.")}
        weight, bias = (last.get(f"{self.classifier_name}.{part}") for part in ("weight", "bias"))
        if weight is not None and bias is not None and weight.shape[1:] == (self.info.embedding_size,):
            classifier = nn.Linear(weight.shape[1], weight.shape[0])
            classifier.load_state_dict({"weight": weight.float(), "bias": bias.float()})
            self._classifier = (classifier.eval().requires_grad_(False),)
        return {
            f"{_TRUNK}{name}": tensor
            for name, tensor in entries.items()
            if name not in last and not name.startswith(_AUXILIARY)
        }


def library_network(name: str) -> ImageNetwork:
    """Make any torchvision or timm classifier, its taps spread evenly over its stages.

    Its normalisation and input size are those of the library's own weights.

    Args:
        name: ``torchvision:NAME`` or ``timm:NAME``.

    Returns:
        The network with random weights.

    Raises:
        InputError: If the library or the name is unknown, timm is not installed, or no feature maps are found.

    Example:
        >>> [tap.layer for tap in library_network("torchvision:resnet18").info.taps]
        ['trunk.layer1', 'trunk.layer2', 'trunk.layer3', 'trunk.layer4']
    """
    library, _, model = name.partition(":")
    if library == "torchvision":
        network = _make_torchvision(model)
        return _discovered(name, network, _torchvision_input(model, network), _torchvision_weights(model))
    if library == "timm":
        network = _timm(model)
        return _discovered(name, network, _timm_input(network), _no_named_weights)
    raise InputError(f"unknown library '{library}' of backbone '{name}'; write torchvision:NAME or timm:NAME")


def _register(
    name: str, model: str, taps: tuple[Tap, ...], blocks: tuple[Tap, ...], used_with: _Input = _Input()
) -> None:
    def make() -> ImageNetwork:
        trunk = _make_torchvision(model)
        classifier_name, embedding_size = _cut_classifier(trunk)
        info = used_with.info(name, embedding_size, taps, blocks)
        return ImageNetwork(info, trunk, classifier_name, _torchvision_weights(model))

    BACKBONES.add(name, make)


def _resnet_taps(units: tuple[int, ...]) -> tuple[Tap, ...]:
    # Before BatchNorm: torchvision adds the residual in place to the output of bn3.
    return tuple(
        Tap(f"{_TRUNK}layer{stage}.{unit}.conv3", 128 * 2**stage, 2 ** (stage + 1))
        for stage, count in enumerate(units, start=1)
        for unit in range(count)
    )


def _register_resnet(name: str, units: tuple[int, ...]) -> None:
    blocks = _resnet_taps(units)
    ends = [sum(units[: stage + 1]) - 1 for stage in range(len(units))]
    _register(name, name, tuple(blocks[end] for end in ends), blocks)


_register_resnet("resnet50", (3, 4, 6, 3))
_register_resnet("resnet101", (3, 4, 23, 3))

_INCEPTION = tuple(
    Tap(f"{_TRUNK}{layer}", channels, stride)
    for layer, channels, stride in (
        ("Conv2d_4a_3x3", 192, 4), ("Mixed_5b", 256, 8), ("Mixed_5c", 288, 8), ("Mixed_5d", 288, 8),
        ("Mixed_6a", 768, 16), ("Mixed_6b", 768, 16), ("Mixed_6c", 768, 16), ("Mixed_6d", 768, 16),
        ("Mixed_6e", 768, 16), ("Mixed_7a", 1280, 32), ("Mixed_7b", 2048, 32), ("Mixed_7c", 2048, 32),
    )
)  # fmt: skip
# torchvision's weights come from images scaled to -1..1, which its own transform_input makes of ImageNet's scale.
_INCEPTION_TAPS = tuple(_INCEPTION[i] for i in (0, 3, 8, 11))
_register("inception_v3", "inception_v3", _INCEPTION_TAPS, _INCEPTION, _Input(_HALF, _HALF, (299, 299)))

_MOBILENET = tuple(
    Tap(f"{_TRUNK}features.{block}.conv.2", channels, stride)
    for block, channels, stride in (
        (2, 24, 4), (3, 24, 4), (4, 32, 8), (5, 32, 8), (6, 32, 8), (7, 64, 16), (8, 64, 16), (9, 64, 16),
        (10, 64, 16), (11, 96, 16), (12, 96, 16), (13, 96, 16), (14, 160, 32), (15, 160, 32), (16, 160, 32),
        (17, 320, 32),
    )
)  # fmt: skip
_MOBILENET_TAPS = tuple(_MOBILENET[i - 2] for i in (5, 9, 13, 17))
_register("mobilenet_v2", "mobilenet_v2", _MOBILENET_TAPS, _MOBILENET)
# The same network for weights that were converted from TensorFlow: images scaled to -1..1.
_register("mobilenet_v2_tf", "mobilenet_v2", _MOBILENET_TAPS, _MOBILENET, _Input(_HALF, _HALF))


def _make_torchvision(model: str) -> nn.Module:
    if model not in torchvision.models.list_models():
        raise InputError(f"unknown torchvision network '{model}'; torchvision.models.list_models() lists them")
    has_auxiliary = model.removeprefix("quantized_") in ("inception_v3", "googlenet")
    options = {"aux_logits": False, "init_weights": False} if has_auxiliary else {}
    network: nn.Module = torchvision.models.get_model(model, weights=None, **options)
    return network


def _torchvision_input(model: str, network: nn.Module) -> _Input:
    """Read it from the way of pictures to torchvision's weights; of several sizes the least: every network takes it."""
    ways = [weights.transforms() for weights in torchvision.models.get_model_weights(model)]
    ways = [way for way in ways if hasattr(way, "crop_size")]
    size = min((way.crop_size[0] for way in ways), default=224)
    if hasattr(network, "transform_input"):
        # With its own weights torchvision brings ImageNet's scale to -1..1 inside such a network.
        return _Input(_HALF, _HALF, (size, size))
    return _Input(ways[0].mean, ways[0].std, (size, size)) if ways else _Input()


def _torchvision_weights(model: str) -> Callable[[str], Mapping[str, Tensor]]:
    def load(name: str) -> Mapping[str, Tensor]:
        known = torchvision.models.get_model_weights(model).__members__
        if name not in known:
            raise InputError(f"unknown weights '{name}' of {model}; torchvision has {', '.join(sorted(known))}")
        try:
            entries: Mapping[str, Tensor] = torch.hub.load_state_dict_from_url(
                known[name].url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
        except (urllib.error.URLError, OSError) as error:
            raise InputError(
                f"expected a network connection to get {model} {name}, got: {error}; give a file as source.weights"
            ) from error
        return entries

    return load


def _timm(model: str) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise InputError("expected timm for a timm: backbone, it is not installed; pip install timm") from error
    try:
        network: nn.Module = timm.create_model(model, pretrained=False)
    except RuntimeError as error:
        raise InputError(f"unknown timm network '{model}': {error}; timm.list_models() lists them") from error
    return network


def _timm_input(network: nn.Module) -> _Input:
    facts: Any = network.default_cfg
    return _Input(facts["mean"], facts["std"], tuple(facts["input_size"][1:]))


def _no_named_weights(name: str) -> Mapping[str, Tensor]:
    raise InputError(f"expected a file of weights for a timm network, got the name '{name}'; save its state_dict")


def _cut_classifier(network: nn.Module) -> tuple[str, int]:
    """Replace the last linear layer by nothing; give its name and inputs."""
    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError("expected a classifier with a last linear layer, found none; choose another network")
    name, module = linear[-1]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return name, module.in_features


def _discovered(
    name: str,
    network: nn.Module,
    used_with: _Input,
    named_weights: Callable[[str], Mapping[str, Tensor]],
) -> ImageNetwork:
    """Find the modules that give feature maps by one forward pass; the last of each size is a tap, none in another."""
    classifier_name, embedding_size = _cut_classifier(network)
    info = used_with.info(name, embedding_size)
    made = ImageNetwork(info, network, classifier_name, named_weights)
    seen: list[tuple[str, Tensor, int]] = []
    handles = [
        module.register_forward_hook(lambda _, inputs, output, layer=layer: _see(seen, layer, output))
        for layer, module in made.named_modules()
        if 1 <= layer.count(".") <= 2
    ]
    try:
        with torch.no_grad():
            made.eval()(torch.zeros(1, 3, *info.input_size))
    finally:
        for handle in handles:
            handle.remove()
    # What a later layer overwrote in place cannot be tapped.
    kept = [(layer, maps) for layer, maps, version in seen if maps._version == version and min(maps.shape[2:]) > 1]
    kept = [(layer, maps) for layer, maps in kept if not _is_whole_of(layer, maps, kept)]
    blocks = tuple(Tap(layer, maps.shape[1], round(info.input_size[0] / maps.shape[2])) for layer, maps in kept)
    last_of_size = {tap.stride: tap for tap in blocks}
    taps = tuple(last_of_size[stride] for stride in sorted(last_of_size))[-4:]
    if not taps:
        raise InputError(f"expected feature maps (N, C, H, W) in {name}, found none; choose a convolutional network")
    made.info = replace(info, taps=taps, blocks=blocks)
    made.train()
    return made


def _is_whole_of(container: str, given: Tensor, kept: Sequence[tuple[str, Tensor]]) -> bool:
    """Whether maps are those of a layer within, and layers of other sizes lie there too: taps must not hold taps."""
    inside = [maps for layer, maps in kept if layer.startswith(f"{container}.")]
    return any(maps is given for maps in inside) and any(maps.shape[2:] != given.shape[2:] for maps in inside)


def _see(seen: list[tuple[str, Tensor, int]], layer: str, output: object) -> None:
    if isinstance(output, Tensor) and output.ndim == 4:
        seen.append((layer, output, output._version))
