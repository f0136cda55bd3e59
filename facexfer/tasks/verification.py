"""Verification of a model on a manifest: which images are compared with which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facexfer.data.manifest import Manifest
from facexfer.eval.scores import all_pairs, gallery_probe_pairs
from facexfer.eval.verification import OperatingPoint
from facexfer.tasks.embedder import Embedder, embed_images


@dataclass(frozen=True)
class Comparison:
    """A comparison and what came out.

    Attributes:
        name: ``nir`` within a modality, ``vis-nir`` for a VIS gallery against NIR probes.
        points: One a target.
    """

    name: str
    points: tuple[OperatingPoint, ...]


def verify(
    embedder: Embedder, manifest: Manifest, fars: Sequence[float], probe: str | None, gallery: str | None
) -> Comparison:
    """Measure a model on images of a manifest.

    Args:
        embedder: The model.
        manifest: The images, of one split.
        fars: The targets, as fractions.
        probe: The probes' modality; None takes all images as one set.
        gallery: The gallery's modality; None compares the probes among themselves.

    Returns:
        The comparison. Against a gallery, pairs of one capture are left out.

    Raises:
        InputError: If a modality is not there, a crop is unfit, or there are no pairs.
    """
    probes = manifest.select(modality=probe)
    probe_embeddings = _embed(embedder, probes)
    if gallery is None:
        return Comparison(probe or "all", all_pairs(probe_embeddings, _names(probes), fars))
    galleries = manifest.select(modality=gallery)
    points = gallery_probe_pairs(
        _embed(embedder, galleries),
        _names(galleries),
        probe_embeddings,
        _names(probes),
        fars,
        gallery_captures=galleries.captures(),
        probe_captures=probes.captures(),
    )
    return Comparison(f"{gallery}-{probe or 'all'}", points)


def _embed(embedder: Embedder, manifest: Manifest) -> np.ndarray:
    return embed_images(embedder, [image.path for image in manifest.images])


def _names(manifest: Manifest) -> np.ndarray:
    return np.array([image.identity for image in manifest.images])
