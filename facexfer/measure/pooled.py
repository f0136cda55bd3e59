"""The folds of a cross-validation as one comparison: every identity is scored by a network that has not seen it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from facexfer.eval.pairwise.pairs import PairSet
from facexfer.measure.pair_sets import Comparison, Side


def pool_pairs(folds: Sequence[Comparison]) -> PairSet:
    """Take the pairs within each fold, and none across, which two networks have embedded.

    Args:
        folds: One comparison per fold, of other identities than the others.

    Returns:
        All of their pairs.
    """
    probe, groups = _join_sides([fold.probe for fold in folds])
    if folds[0].gallery is None:
        return replace(folds[0], probe=probe).pairs(groups=groups)
    gallery, of_gallery = _join_sides([fold.gallery for fold in folds if fold.gallery is not None])
    return replace(folds[0], probe=probe, gallery=gallery).pairs(groups=groups, gallery_groups=of_gallery)


def _join_sides(sides: Sequence[Side]) -> tuple[Side, np.ndarray]:
    """Put the folds' images one after another, and number each image's fold."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(side, name) for side in sides])

    groups = np.repeat(np.arange(len(sides)), [len(side.labels) for side in sides])
    has_keys = all(side.pictures is not None and side.shots is not None for side in sides)
    return (
        Side(
            joined("embeddings"),
            joined("labels"),
            joined("captures"),
            tuple(image for side in sides for image in side.images),
            joined("pictures") if has_keys else None,
            joined("shots") if has_keys else None,
        ),
        groups,
    )
