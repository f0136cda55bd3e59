"""Calls of a network whose file may take one number of images and no other."""

from collections.abc import Callable

import numpy as np

CPU_BATCH = 4
"""Images in a call on a CPU: the maps of more than a few leave its cache, which costs more than the calls."""


def call_in_batches(
    call: Callable[[np.ndarray], np.ndarray], images: np.ndarray, step: int, is_fixed: bool
) -> np.ndarray:
    """Run a network over all images, a fixed number at a time.

    Args:
        call: Maps images (n, ...) to rows (n, D).
        images: (N, ...), at least one.
        step: Images in a call.
        is_fixed: Whether a call takes no fewer: the last is filled up with its last image, whose rows are dropped.

    Returns:
        (N, D).

    Example:
        >>> call_in_batches(lambda rows: rows[:, :1] * len(rows), np.arange(6).reshape(3, 2), 2, True).ravel().tolist()
        [0, 4, 8]
    """
    parts = []
    for start in range(0, len(images), step):
        part = images[start : start + step]
        missing = step - len(part) if is_fixed else 0
        filled = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
        parts.append(call(filled)[: len(part)])
    return np.concatenate(parts)
