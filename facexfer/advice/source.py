"""The network that a transfer would start from, as far as advice depends on it."""

from dataclasses import dataclass
from pathlib import Path

from facexfer.backbones import create_backbone
from facexfer.backbones.identify import identify
from facexfer.backbones.parts.info import BackboneInfo
from facexfer.backbones.parts.layers import has_batchnorm
from facexfer.backbones.sources import find_weights
from facexfer.deploy.contract import CONTRACT, MODEL
from facexfer.errors import InputError
from facexfer.runs.folder import RunFolder


@dataclass(frozen=True)
class Source:
    """A source network.

    Attributes:
        weights: What a recipe names: a file, or a pack.
        info: The network's facts.
        folded: How many BatchNorm layers the file has folded into convolutions; a run revives them first.
        has_classifier: Whether the classifier that it was trained with came along.
        has_batchnorm: Whether it has BatchNorm at all.
    """

    weights: str
    info: BackboneInfo
    folded: int
    has_classifier: bool
    has_batchnorm: bool


def read_source(weights: str | Path, backbone: str | None = None) -> Source:
    """Load a source network to see what it is.

    Args:
        weights: A file of weights, the name of an InsightFace pack, a run folder or a bundle.
        backbone: Its name; None takes the one that the file tells.

    Returns:
        What advice depends on.

    Raises:
        InputError: If there is no such file, it is another folder, it is damaged, or it does not state its network.
    """
    if not str(weights).strip():
        raise InputError("expected a source network, got an empty name; name weights, a pack, a run or a bundle")
    folder = Path(weights)
    if (folder / CONTRACT).is_file():
        weights = folder / MODEL
    elif RunFolder(folder).recipe_file.is_file():
        weights = RunFolder(folder).trained_file()
    elif folder.is_dir():
        raise InputError(f"{weights}: expected weights, a pack, a run or a bundle, got a folder; name a file in it")
    name = backbone or identify(find_weights(str(weights))).network
    if name is None:
        raise InputError(f"{weights}: expected weights that tell their network, got others; give --backbone NAME")
    network = create_backbone(name, weights=weights)
    return Source(
        str(weights), network.info, len(network.folded), network.classifier is not None, has_batchnorm(network)
    )
