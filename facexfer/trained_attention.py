"""What the attention modules of a finished run look at, for showing it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from facexfer.backbones.checkpoints.loading import load_entries
from facexfer.backbones.normalize import Normalize
from facexfer.checkpoint import load_state
from facexfer.errors import InputError
from facexfer.features import FeatureTap, map_shapes
from facexfer.recipe import read_recipe
from facexfer.runs import RunFolder, load_backbone
from facexfer.transfer import methods
from facexfer.transfer.objective import make_terms
from facexfer.transfer.stages import StageSetting


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
        One entry a module, in the order of the stages and, within one, shallow to deep; empty for a method without
        attention.

    Raises:
        InputError: If the run is not there or a stage's file is damaged.
    """
    folder = RunFolder(run)
    if not folder.finished:
        raise InputError(f"{run}: expected a finished run, found none; finish it with --resume")
    recipe = read_recipe(folder.recipe_file)
    found = []
    for stage in methods.create(recipe.method.name, **recipe.method.options):
        if not folder.stage_file(stage.name).is_file():
            continue
        state = load_state(folder.stage_file(stage.name))
        if not any(".attentions." in key for key in state["terms"]):
            continue
        network = load_backbone(run)
        load_entries(network, state["reference"], str(folder.stage_file(stage.name)))
        network.eval()
        info = network.info
        layers = recipe.method.layers or tuple(tap.layer for tap in info.even_taps(stage.taps))
        shapes = map_shapes(network, layers, info.input_size)
        setting = StageSetting(shapes, info.embedding_size, classes=1, source=network, target=network)
        terms = make_terms(stage, setting)
        torch.nn.ModuleDict(terms).load_state_dict(state["terms"])
        images = torch.from_numpy(crops).permute(0, 3, 1, 2)
        with torch.no_grad(), FeatureTap(network, layers) as tap:
            network(Normalize(info)(images))
            for name, term in terms.items():
                for layer, attend, maps in zip(layers, getattr(term, "attentions", ()), tap.maps, strict=False):
                    found.append(AttentionMaps(stage.name, name, layer, attend(maps).numpy()))
    return tuple(found)
