"""Fill our networks from ONNX files, and compare them with the original."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from facexfer.backbones.checkpoints.loading import load_entries
from facexfer.backbones.checkpoints.onnx_graph import GraphMismatchError, OnnxGraph, read_onnx_graph
from facexfer.backbones.checkpoints.onnx_match import match_graph
from facexfer.backbones.parts.carried import facts_from_metadata
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.parts.normalize import Normalize
from facexfer.errors import InputError
from facexfer.files.onnx_session import OnnxSession

TOLERANCE = 1e-3
"""The largest difference between the original's and our embeddings that an import may have."""
_CHECKED_IMAGES = 2


def load_onnx(network: BackboneModule, path: Path) -> str:
    """Fill a network from an ONNX file and compare the two on random images.

    By onnxruntime's embeddings; for a file in half precision as a fraction of the largest number in them, where that
    is above 1. A mirrored image that the file embeds as well is left to ``--flip``.

    Args:
        network: What is filled; its `folded` names the BatchNorm layers that the file has folded, and its `info`
            takes the file's normalisation where the file has one.
        path: The file.

    Returns:
        What to tell the user: the largest difference, and what the file does besides.

    Raises:
        InputError: If the file is damaged, the graph is another network's, or the difference is above `TOLERANCE`.
    """
    graph = read_onnx_graph(path)
    try:
        match = match_graph(network, graph)
    except GraphMismatchError as error:
        raise InputError(f"{path}: expected the graph of {network.info.name}: {error}") from error
    load_entries(network, match.entries, str(path))
    inside = match.mean is not None and match.scale is not None
    if match.mean is not None and match.scale is not None:
        mean, scale = match.mean, match.scale
        network.info = replace(network.info, mean=(mean[0], mean[1], mean[2]), scale=(scale[0], scale[1], scale[2]))
    network.info = facts_from_metadata(network.info, own_facts(graph))
    ours, theirs = _embeddings(network, path, pixels=inside, flip=graph.flip)
    if graph.unit_length:
        ours = ours / np.linalg.norm(ours, axis=1, keepdims=True)
    difference = float(np.abs(theirs - ours).max())
    if graph.half:
        # Half precision holds a number to a 2,000th of its size.
        difference /= max(1.0, float(np.abs(theirs).max()))
    # Written so that NaN is refused too.
    if not difference <= TOLERANCE:
        raise InputError(
            f"{path}: expected our {network.info.name} within {TOLERANCE:g} of the original, got {difference:.2g}; it "
            "is not used"
        )
    network.folded = tuple(match.folded)
    said = f"within {difference:.1e} of the original"
    return f"{said}, without the mirrored image that it adds (--flip does)" if graph.flip else said


def own_facts(graph: OnnxGraph) -> dict[str, str]:
    """Origin and licence of a file that facexfer has exported."""
    try:
        facts = json.loads(graph.metadata.get("facexfer", "{}"))
        return {key: str(facts[key]) for key in ("licence", "source") if key in facts}
    except (ValueError, TypeError):
        return {}


def _embeddings(network: BackboneModule, path: Path, *, pixels: bool, flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """Embed random images with our network and with the file; (2, D) each."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (_CHECKED_IMAGES, 3, *network.info.input_size)).astype(np.float32)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    with torch.no_grad():
        normalised = Normalize(network.info)(torch.from_numpy(images))
        embeddings = network(normalised) + network(normalised.flip(3)) if flip else network(normalised)
    for module, mode in modes:
        module.training = mode
    ours = embeddings.numpy()
    session = OnnxSession(path, ["CPUExecutionProvider"])
    if session.takes_integers and not pixels:
        raise InputError(
            f"{path}: expected a file of whole numbers to normalise them, found nothing that does; export it again"
        )
    theirs = session.run(images if pixels else normalised.numpy())
    if theirs.shape != ours.shape:
        raise InputError(f"{path}: expected embeddings {ours.shape}, got {theirs.shape}; is it another network?")
    return ours, theirs
