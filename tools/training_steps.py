"""Training steps as the engine takes them, and as the published implementations do, to be timed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facexfer.backbones import create_backbone
from facexfer.backbones.parts.prelu import PReLU
from facexfer.heads import ArcFaceHead
from facexfer.networks.folded import fold_batchnorm
from facexfer.networks.half_precision import spare_slow_gradients
from facexfer.transfer.alignment import FixedAttention
from facexfer.transfer.methods import create
from facexfer.transfer.methods.delta import WeightedChannelAlignment
from facexfer.transfer.objective import Objective, make_terms
from facexfer.transfer.stages import Need, StageSetting
from facexfer.transfer.taps import map_shapes

CLASSES = 255
Step = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class StepSetting:
    """How a step computes.

    Attributes:
        device: ``cpu`` or ``cuda``.
        channels_last: Whether images and weights lie channels last in memory.
        autocast: The number type of matrix products and convolutions, or None for that of the weights, float32.
        compile: Whether the objective is compiled.
        cuda_graphs: Whether the compiled objective is captured in CUDA graphs.
    """

    device: str
    channels_last: bool = True
    autocast: torch.dtype | None = None
    compile: bool = False
    cuda_graphs: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as torch names it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


def make_way(network: str, method: str, setting: StepSetting, **options: Any) -> Step:
    """Make one training step as the engine takes it; images and weights are random, the work is the same."""
    torch.manual_seed(0)
    place: Any = {"device": setting.device, "memory_format": setting.memory_format}
    source = create_backbone(network).eval().requires_grad_(False).to(**place)
    target = create_backbone(network).to(**place)
    target.load_state_dict(source.state_dict())
    name = "dfa" if method == "delta" else method
    stage = create(name, **options)[0]
    wants_companions = Need.COMPANIONS in stage.needs
    layers = source.info.layers(stage.taps)
    shapes = map_shapes(source, layers, source.info.input_size)
    if method == "delta":
        # Uniform channel weights: finding them does not belong to a step.
        terms: dict[str, Any] = {
            "feature": WeightedChannelAlignment(FixedAttention(torch.full((c,), 1 / c)) for c, _, _ in shapes)
        }
    else:
        terms = make_terms(stage, StageSetting(shapes, source.info.embedding_size, CLASSES, source, target))
    frozen = fold_batchnorm(source, layers, source.info.input_size).network.to(**place)
    head = ArcFaceHead(source.info.embedding_size, CLASSES)
    spare_slow_gradients(target)
    objective = Objective(target, head, stage, terms, layers, frozen).to(setting.device).train()
    if setting.compile:
        objective.compile(captured=setting.cuda_graphs)
    optimizer = torch.optim.SGD(objective.parameter_groups(stage), lr=1e-4, momentum=0.9)

    size = source.info.embedding_size

    def step(images: Tensor, labels: Tensor) -> None:
        # As from the table of targets that is made before training.
        more = {}
        if wants_companions:
            more["companions"] = labels.new_ones((len(labels), size), dtype=torch.float32) / size**0.5
        if objective.reads_companion_maps:
            more["companion_maps"] = labels.new_ones((len(labels), *shapes[-1]), dtype=torch.float16)
        with torch.autocast(setting.device, setting.autocast, enabled=setting.autocast is not None):
            losses = objective(images, labels, **more)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()

    return step


def make_published_way(network: str, setting: StepSetting) -> Step:
    """Make the same AFA step as the public implementations take it.

    Contiguous NCHW float32, whatever the setting says of that; hooks that stay on both networks; the unfolded source;
    the channels' distance written as products of whole maps; every loss read by the host in every step; torch's own
    layers and allocator settings.
    """
    torch.manual_seed(0)
    device = setting.device
    source = create_backbone(network).eval().requires_grad_(False).to(device)
    target = create_backbone(network).train().to(device)
    target.load_state_dict(source.state_dict())
    for module in (*source.modules(), *target.modules()):
        if isinstance(module, PReLU):
            module.__class__ = nn.PReLU  # type: ignore[assignment]
    head = ArcFaceHead(source.info.embedding_size, CLASSES).to(device)
    maps: dict[str, list[Tensor]] = {"source": [], "target": []}
    for name, each in (("source", source), ("target", target)):
        for tap in source.info.taps:
            each.get_submodule(tap.layer).register_forward_hook(
                lambda module, inputs, output, name=name: maps[name].append(output)
            )
    layers = tuple(tap.layer for tap in source.info.taps)
    shapes = map_shapes(source, layers, source.info.input_size)
    for seen in maps.values():
        seen.clear()
    modules = make_terms(create("afa")[0], StageSetting(shapes, source.info.embedding_size, CLASSES, source, target))
    attention: Any = modules["spatial"].to(device)
    optimizer = torch.optim.SGD(
        [
            {"params": target.parameters(), "weight_decay": 0.0},
            {"params": head.parameters(), "weight_decay": 0.01},
            {"params": attention.parameters(), "weight_decay": 0.0},
        ],
        lr=1e-4,
        momentum=0.9,
    )

    def step(images: Tensor, labels: Tensor) -> None:
        for each in maps.values():
            each.clear()
        loss = F.cross_entropy(head(target(images), labels), labels)
        with torch.no_grad():
            source(images)
        alignment = torch.zeros((), device=device)
        for attend, theirs, mine in zip(attention.attentions, maps["source"], maps["target"], strict=True):
            samples, channels, height, width = mine.shape
            weights = attend(theirs).view(samples, 1, height * width) * height * width
            difference = (mine - theirs.detach()).view(samples, channels, height * width) * weights
            alignment = alignment + 0.5 * torch.norm(difference) ** 2 / samples
        total = loss + 0.1 * alignment
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        for value in (loss, alignment, total):
            value.item()

    return step


def batch_of(images: int, setting: StepSetting, network: str = "mobilefacenet") -> tuple[Tensor, Tensor]:
    """Draw images (N, 3, H, W) of the network's size, and labels."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(images, 3, *create_backbone(network).info.input_size, generator=generator).to(setting.device)
    labels = torch.randint(CLASSES, (images,), generator=generator).to(setting.device)
    return drawn.contiguous(memory_format=setting.memory_format), labels
