"""All pairs of a set of embeddings, block by block: exact, and never holding the score matrix.

Scores are cosines in float32. Only the genuine scores and the highest impostor scores are kept, as many as the largest
target needs; every operating point is exact with them (see `facexfer.eval.verification`).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from facexfer.errors import InputError
from facexfer.eval.verification import OperatingPoint, check_fars, points_from_tail, tail_length

_BLOCK = 1024


def all_pairs(
    embeddings: np.ndarray, labels: np.ndarray, fars: Sequence[float], device: str = "cpu"
) -> tuple[OperatingPoint, ...]:
    """Measure TAR at FAR over every unordered pair of one set.

    Args:
        embeddings: (N, D), of any length.
        labels: (N,), equal for one person.
        fars: The targets, as fractions.
        device: Where the products are made.

    Returns:
        One point a target.

    Raises:
        InputError: If shapes do not fit, an embedding is zero or not finite, there is no genuine or no impostor pair,
            or a target is out of range.

    Example:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
        >>> point = all_pairs(embeddings, np.array([0, 0, 1, 1]), [0.25])[0]
        >>> point.genuine_pairs, point.impostor_pairs, round(point.threshold, 6), point.tar
        (2, 4, 0.6, 1.0)
    """
    check_fars(fars)
    units = _units(embeddings, "embeddings").to(device)
    codes = _codes(labels, len(units), "labels").to(device)
    counts = torch.bincount(codes)
    genuine = int((counts * (counts - 1) // 2).sum())
    impostor = len(units) * (len(units) - 1) // 2 - genuine
    _check_pairs(genuine, impostor)
    return _measure(_triangle_blocks(units, codes), genuine, impostor, fars)


def gallery_probe_pairs(
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    probe: np.ndarray,
    probe_labels: np.ndarray,
    fars: Sequence[float],
    gallery_captures: np.ndarray | None = None,
    probe_captures: np.ndarray | None = None,
    device: str = "cpu",
) -> tuple[OperatingPoint, ...]:
    """Measure TAR at FAR over every pair of a gallery and a probe image.

    Pairs of one capture are left out: two renderings of one shot are no evidence.

    Args:
        gallery: (G, D), of any length.
        gallery_labels: (G,), equal for one person, also across the two sets.
        probe: (Q, D).
        probe_labels: (Q,).
        fars: The targets, as fractions.
        gallery_captures: (G,) of str or None; None is no capture.
        probe_captures: (Q,) likewise.
        device: Where the products are made.

    Returns:
        One point a target.

    Raises:
        InputError: As for `all_pairs`, or if gallery and probe embeddings differ in size.
    """
    check_fars(fars)
    gallery_units, probe_units = _units(gallery, "gallery").to(device), _units(probe, "probe").to(device)
    if gallery_units.shape[1] != probe_units.shape[1]:
        raise InputError(
            f"expected gallery and probe embeddings of one size, got {gallery_units.shape[1]} and "
            f"{probe_units.shape[1]}; embed both with one network"
        )
    labels = _codes(
        np.concatenate([np.asarray(gallery_labels), np.asarray(probe_labels)]),
        len(gallery_units) + len(probe_units),
        "labels",
    ).to(device)
    captures = _capture_codes(gallery_captures, len(gallery_units), probe_captures, len(probe_units)).to(device)
    split = len(gallery_units)
    excluded, excluded_genuine = _count_excluded(captures[:split], captures[split:], labels[:split], labels[split:])
    size = int(labels.max()) + 1
    genuine = int(
        (torch.bincount(labels[:split], minlength=size) * torch.bincount(labels[split:], minlength=size)).sum()
    )
    impostor = split * len(probe_units) - genuine - (excluded - excluded_genuine)
    genuine -= excluded_genuine
    _check_pairs(genuine, impostor)
    blocks = _rectangle_blocks(
        gallery_units, labels[:split], captures[:split], probe_units, labels[split:], captures[split:]
    )
    return _measure(blocks, genuine, impostor, fars)


def _measure(
    blocks: Iterator[tuple[Tensor, Tensor]], genuine_pairs: int, impostor_pairs: int, fars: Sequence[float]
) -> tuple[OperatingPoint, ...]:
    """Collect genuine scores and the impostor tail from blocks of (genuine scores, impostor scores)."""
    genuine = []
    tail = _Tail(tail_length(impostor_pairs, fars))
    for genuine_scores, impostor_scores in blocks:
        genuine.append(genuine_scores.cpu())
        tail.add(impostor_scores)
    scores = torch.cat(genuine)
    assert len(scores) == genuine_pairs
    return points_from_tail(scores.numpy(), tail.highest_first(), impostor_pairs, fars)


class _Tail:
    """The highest ``length`` of all scores seen so far, and perhaps some more."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.floor = -torch.inf
        self.held = 0
        self.kept: list[Tensor] = []

    def add(self, scores: Tensor) -> None:
        # Scores equal to the floor would not change the sorted tail: there are enough of them in it already.
        above = scores[scores > self.floor]
        self.kept.append(above)
        self.held += len(above)
        if self.held > 2 * self.length + _BLOCK * _BLOCK:
            self.shrink()

    def shrink(self) -> None:
        merged = torch.cat(self.kept)
        if len(merged) > self.length:
            merged = merged.topk(self.length, sorted=False).values
            self.floor = float(merged.min())
        self.kept, self.held = [merged], len(merged)

    def highest_first(self) -> np.ndarray:
        self.shrink()
        return np.asarray(self.kept[0].sort(descending=True).values.cpu().numpy())


def _triangle_blocks(units: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Give (genuine, impostor) scores of every unordered pair, each block of the symmetric matrix once."""
    for top in range(0, len(units), _BLOCK):
        rows, row_codes = units[top : top + _BLOCK], codes[top : top + _BLOCK]
        for left in range(top, len(units), _BLOCK):
            scores = rows @ units[left : left + _BLOCK].T
            same = row_codes[:, None] == codes[None, left : left + _BLOCK]
            if left == top:
                upper = torch.ones_like(same).triu(diagonal=1)
                yield scores[same & upper], scores[~same & upper]
            else:
                yield scores[same], scores[~same]


def _rectangle_blocks(
    gallery: Tensor,
    gallery_codes: Tensor,
    gallery_captures: Tensor,
    probe: Tensor,
    probe_codes: Tensor,
    probe_captures: Tensor,
) -> Iterator[tuple[Tensor, Tensor]]:
    for top in range(0, len(gallery), _BLOCK):
        rows = slice(top, top + _BLOCK)
        for left in range(0, len(probe), _BLOCK):
            columns = slice(left, left + _BLOCK)
            scores = gallery[rows] @ probe[columns].T
            same = gallery_codes[rows, None] == probe_codes[None, columns]
            counted = gallery_captures[rows, None] != probe_captures[None, columns]
            yield scores[same & counted], scores[~same & counted]


def _units(embeddings: np.ndarray, what: str) -> Tensor:
    array = np.asarray(embeddings)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"expected {what} of shape (N, D), got {array.shape}; give one row an image")
    tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    lengths = tensor.norm(dim=1)
    bad = ~(torch.isfinite(lengths) & (lengths > 0))
    if bad.any():
        raise InputError(
            f"expected finite {what} of positive length, got {int(bad.sum())} others, the first in row "
            f"{int(bad.nonzero()[0])}; leave failed images out and count them as failures"
        )
    units: Tensor = tensor / lengths[:, None]
    return units


def _codes(labels: np.ndarray, length: int, what: str) -> Tensor:
    array = np.asarray(labels)
    if array.shape != (length,):
        raise InputError(f"expected {what} of shape ({length},), got {array.shape}; give one an embedding")
    return torch.from_numpy(np.unique(array, return_inverse=True)[1].astype(np.int64))


def _capture_codes(gallery: np.ndarray | None, rows: int, probe: np.ndarray | None, columns: int) -> Tensor:
    """Number the captures such that equal numbers mean one shot; an image without a capture gets its own number."""
    numbers: dict[str, int] = {}
    codes = torch.arange(-1, -1 - rows - columns, -1)
    sides = ((gallery, rows, 0), (probe, columns, rows))
    for captures, length, offset in sides:
        if captures is None:
            continue
        if len(captures) != length:
            raise InputError(f"expected {length} captures, got {len(captures)}; give one an embedding, or None")
        for index, capture in enumerate(captures):
            if capture is not None:
                codes[offset + index] = numbers.setdefault(str(capture), len(numbers))
    return codes


def _count_excluded(
    gallery_captures: Tensor, probe_captures: Tensor, gallery_codes: Tensor, probe_codes: Tensor
) -> tuple[int, int]:
    """Count the pairs of one capture, and how many of them are genuine."""
    excluded = genuine = 0
    rows: dict[int, list[int]] = {}
    for index, capture in enumerate(gallery_captures.tolist()):
        if capture >= 0:
            rows.setdefault(capture, []).append(index)
    for column, capture in enumerate(probe_captures.tolist()):
        for row in rows.get(capture, []):
            excluded += 1
            genuine += int(gallery_codes[row] == probe_codes[column])
    return excluded, genuine


def _check_pairs(genuine: int, impostor: int) -> None:
    if genuine == 0:
        raise InputError("expected at least one genuine pair, got none; nobody has two images that can be compared")
    if impostor == 0:
        raise InputError("expected at least one impostor pair, got none; all images are of one person")
