"""Embeddings of length 1, whose products are cosines."""

import numpy as np

from facexfer.errors import InputError


def unit_length(embeddings: np.ndarray) -> np.ndarray:
    """Scale embeddings to length 1.

    Args:
        embeddings: (N, D).

    Returns:
        (N, D) float64.

    Raises:
        InputError: If the shape differs, or an embedding is not finite or of length 0.

    Example:
        >>> unit_length(np.array([[3.0, 4.0]])).tolist()
        [[0.6, 0.8]]
    """
    if embeddings.ndim != 2:
        raise InputError(f"expected embeddings of shape (N, D), got {embeddings.shape}; give one row per image")
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise InputError("expected finite embeddings of positive length, got others; leave failed images out")
    units: np.ndarray = embeddings / lengths
    return units
