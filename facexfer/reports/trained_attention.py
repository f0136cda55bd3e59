"""What the attention modules of a finished run look at, for showing it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from facexfer.backbones.checkpoints.loading import load_entries
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.reports.run_images import finished_recipe
from facexfer.runs.folder import RunFolder, load_backbone
from facexfer.runs.state import load_state
from facexfer.runtime import seed_stage
from facexfer.transfer import methods
from facexfer.transfer.objective import make_terms
from facexfer.transfer.stages import Stage, StageSetting
from facexfer.transfer.taps import FeatureTap, map_shapes


@dataclass(frozen=True)
class AttentionMaps:
    """One trained attention module's weights for some images.

    Attributes:
        stage: The stage that trained it.
        term: The loss term that it belongs to: ``spatial`` or ``channel``.
        layer: The tapped layer.
        weights: (N, H, W) over positions or (N, C) over channels; every image's sum to 1.
    """

    stage: str
    term: str
    layer: str
    weights: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """The weights as multiples of uniform attention, so that 1 is average in every layer."""
        return np.asarray(self.weights * self.weights[0].size)


def read_attention(run: Path, crops: np.ndarray) -> tuple[AttentionMaps, ...]:
    """Compute the weights that a run's attention modules give to crops.

    Args:
        run: A finished run.
        crops: (N, H, W, 3) uint8, RGB.

    Returns:
        One entry a module, in the order of the stages and, within one, shallow to deep; of fixed attention the SAM that
        was trained for it; empty for a method without attention.

    Raises:
        InputError: If the run is not there or a stage's file is damaged.
    """
    return tuple(maps for stage in _stages(run) for maps in _weights(stage, _trained_terms(stage), crops))


def untrained_attention(run: Path, crops: np.ndarray) -> tuple[AttentionMaps, ...]:
    """Compute the weights that the modules of `read_attention` gave before their stages trained them.

    Args:
        run: A finished run.
        crops: (N, H, W, 3) uint8, RGB.

    Returns:
        As there.

    Raises:
        InputError: As there.
    """
    return tuple(maps for stage in _stages(run) for maps in _weights(stage, _new_terms(stage), crops))


@dataclass(frozen=True)
class _Stage:
    """A stage of a run with attention, and the network that it looked at."""

    number: int
    stage: Stage
    seed: int
    layers: tuple[str, ...]
    network: BackboneModule
    trained: dict[str, torch.Tensor]


def _stages(run: Path) -> Iterator[_Stage]:
    recipe, folder = finished_recipe(run), RunFolder(run)
    stages = methods.create(recipe.method.name, **recipe.method.options)
    places = [(number, stage, folder.stage_file(stage.name)) for number, stage in enumerate(stages)]
    # What is run first has a run of its own, in which it is the only stage.
    firsts = [stage.restarts_after for stage in stages if stage.restarts_after]
    places += [(0, first, RunFolder(run / first.name).stage_file(first.name)) for first in firsts]
    for number, stage, file in places:
        if not file.is_file():
            continue
        state = load_state(file)
        if not any(".attentions." in key for key in state["terms"]):
            continue
        network = load_backbone(run)
        load_entries(network, state["reference"], str(file))
        network.eval()
        layers = recipe.method.layers or network.info.layers(stage.taps)
        yield _Stage(number, stage, recipe.seed, layers, network, state["terms"])


def _new_terms(stage: _Stage) -> nn.ModuleDict:
    """Make the terms as the run did at the stage's start."""
    info = stage.network.info
    shapes = map_shapes(stage.network, stage.layers, info.input_size)
    with torch.random.fork_rng(devices=[]):
        seed_stage(stage.seed, stage.number)
        setting = StageSetting(shapes, info.embedding_size, classes=1, source=stage.network, target=stage.network)
        return nn.ModuleDict(make_terms(stage.stage, setting))


def _trained_terms(stage: _Stage) -> nn.ModuleDict:
    terms = _new_terms(stage)
    terms.load_state_dict(stage.trained)
    return terms


@torch.no_grad()
def _weights(stage: _Stage, terms: nn.ModuleDict, crops: np.ndarray) -> Iterator[AttentionMaps]:
    images = torch.from_numpy(crops).permute(0, 3, 1, 2)
    with FeatureTap(stage.network, stage.layers) as tap:
        stage.network(Normalize(stage.network.info)(images))
        maps_of_layers = tap.maps
    for name, term in terms.items():
        for layer, attend, maps in zip(stage.layers, getattr(term, "attentions", ()), maps_of_layers, strict=False):
            yield AttentionMaps(stage.stage.name, name, layer, attend(maps).numpy())
