"""Which embeddings are compared with which, and their scores, block by block: the score matrix is never held.

The images are sorted by identity, so that genuine pairs lie together and few blocks hold any. Scores are cosines in
float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facexfer.errors import InputError

BLOCK = 1024


@dataclass(frozen=True)
class PairScores:
    """Scores with the images that they compare.

    Attributes:
        scores: (P,) float32 cosines.
        rows: (P,) int64, positions among the sorted row images.
        columns: (P,) int64, positions among the sorted column images.
    """

    scores: Tensor
    rows: Tensor
    columns: Tensor


class PairSet:
    """All unordered pairs of one set (`within`), or all pairs of a gallery and a probe image (`against`).

    Attributes:
        rows: (R, D) unit embeddings, sorted by identity: the one set, or the gallery.
        columns: (Q, D) likewise: the same set, or the probes.
        row_identities: (R,) numbers of the identities, ascending; equal numbers mean one person, also across the sides.
        column_identities: (Q,).
        row_order: (R,) the place of each sorted row in what was given.
        column_order: (Q,).
        one_set: Whether rows and columns are one set, of which every unordered pair counts once.
        left_out: (E, 2) pairs (row, column) that do not count, sorted.
        genuine_pairs: How many pairs of one person count.
        impostor_pairs: How many pairs of two persons count.
        identities: How many numbers there are.
    """

    def __init__(
        self,
        rows: Tensor,
        columns: Tensor,
        row_labels: Tensor,
        column_labels: Tensor,
        left_out: Tensor,
        one_set: bool,
    ) -> None:
        self.identities = int(max(row_labels.max(), column_labels.max())) + 1
        self.one_set = one_set
        self._buffers: dict[tuple[int, int], Tensor] = {}
        self.row_order = torch.argsort(row_labels, stable=True)
        self.rows, self.row_identities = rows[self.row_order], row_labels[self.row_order]
        if one_set:
            self.column_order, self.columns, self.column_identities = self.row_order, self.rows, self.row_identities
        else:
            self.column_order = torch.argsort(column_labels, stable=True)
            self.columns, self.column_identities = columns[self.column_order], column_labels[self.column_order]
        self.left_out = self._sorted_places(left_out)
        self.row_counts = torch.bincount(self.row_identities, minlength=self.identities)
        self.column_counts = torch.bincount(self.column_identities, minlength=self.identities)
        self.genuine_by_identity = self._count_genuine()
        self.genuine_pairs = int(self.genuine_by_identity.sum())
        total = len(self.rows) * (len(self.rows) - 1) // 2 if one_set else len(self.rows) * len(self.columns)
        self.impostor_pairs = total - len(self.left_out) - self.genuine_pairs
        if self.genuine_pairs == 0:
            raise InputError("expected at least one genuine pair, got none; nobody has two images that can be compared")
        if self.impostor_pairs == 0:
            raise InputError("expected at least one impostor pair, got none; all images are of one person")

    @classmethod
    def within(cls, embeddings: np.ndarray, labels: np.ndarray, device: str = "cpu") -> "PairSet":
        """Take every unordered pair of one set.

        Args:
            embeddings: (N, D), of any length.
            labels: (N,), equal for one person.
            device: Where the products are made.

        Returns:
            The pairs.

        Raises:
            InputError: If shapes do not fit, an embedding is zero or not finite, or a kind of pair is missing.
        """
        units = _units(embeddings, "embeddings").to(device)
        codes = _codes(labels, len(units), "labels").to(device)
        return cls(units, units, codes, codes, torch.empty((0, 2), dtype=torch.int64, device=device), one_set=True)

    @classmethod
    def against(
        cls,
        gallery: np.ndarray,
        gallery_labels: np.ndarray,
        probe: np.ndarray,
        probe_labels: np.ndarray,
        gallery_captures: np.ndarray | None = None,
        probe_captures: np.ndarray | None = None,
        device: str = "cpu",
    ) -> "PairSet":
        """Take every pair of a gallery and a probe image but those of one capture.

        Args:
            gallery: (G, D), of any length.
            gallery_labels: (G,), equal for one person, also across the two sets.
            probe: (Q, D).
            probe_labels: (Q,).
            gallery_captures: (G,) of str or None; None is no capture.
            probe_captures: (Q,) likewise.
            device: Where the products are made.

        Returns:
            The pairs.

        Raises:
            InputError: As for `within`, or if the embeddings differ in size.
        """
        rows, columns = _units(gallery, "gallery").to(device), _units(probe, "probe").to(device)
        if rows.shape[1] != columns.shape[1]:
            raise InputError(
                f"expected gallery and probe embeddings of one size, got {rows.shape[1]} and {columns.shape[1]}; "
                "embed both with one network"
            )
        both = [_checked_labels(gallery_labels, len(rows), "gallery labels")]
        both.append(_checked_labels(probe_labels, len(columns), "probe labels"))
        codes = torch.from_numpy(np.unique(np.concatenate(both), return_inverse=True)[1].astype(np.int64)).to(device)
        shots = _pairs_of_one_capture(
            _checked_captures(gallery_captures, len(rows)), _checked_captures(probe_captures, len(columns))
        )
        return cls(rows, columns, codes[: len(rows)], codes[len(rows) :], shots.to(device), one_set=False)

    def block_starts(self) -> list[tuple[int, int]]:
        """Give the corners (first row, first column) of all blocks: of one set, the upper triangle alone."""
        return [
            (top, left)
            for top in range(0, len(self.rows), BLOCK)
            for left in range(top if self.one_set else 0, len(self.columns), BLOCK)
        ]

    def impostor_scores(self, top: int, left: int) -> Tensor:
        """Compute a block's scores, with minus infinity wherever there is no impostor pair that counts.

        Args:
            top: The block's first row.
            left: Its first column.

        Returns:
            (rows, columns) float32, each at most `BLOCK`; the next call of the same shape overwrites them.
        """
        rows, columns = self.rows[top : top + BLOCK], self.columns[left : left + BLOCK]
        scores = torch.mm(rows, columns.T, out=self._buffer(len(rows), len(columns)))
        people = self.row_identities[top : top + BLOCK], self.column_identities[left : left + BLOCK]
        if people[0][-1] >= people[1][0] and people[1][-1] >= people[0][0]:
            scores.masked_fill_(people[0][:, None] == people[1][None, :], -torch.inf)
        if self.one_set and top == left:
            scores.masked_fill_(torch.ones_like(scores, dtype=torch.bool).tril(), -torch.inf)
        if len(self.left_out):
            first, last = torch.searchsorted(
                self.left_out[:, 0].contiguous(), self.left_out.new_tensor([top, top + BLOCK])
            ).tolist()
            places = self.left_out[first:last] - self.left_out.new_tensor([top, left])
            places = places[(places[:, 1] >= 0) & (places[:, 1] < scores.shape[1])]
            scores[places[:, 0], places[:, 1]] = -torch.inf
        return scores

    def genuine_scores(self, first: int = 0, step: int = 1) -> Iterator[tuple[int, PairScores]]:
        """Compute the scores of the pairs of one person, at most a few million at a time.

        Args:
            first: Start with this identity.
            step: And take each ``step``-th.

        Yields:
            An identity's number and some of its pairs; all pairs of an identity follow one another.
        """
        row_ends, column_ends = self.row_counts.cumsum(0).tolist(), self.column_counts.cumsum(0).tolist()
        row_counts, column_counts = self.row_counts.tolist(), self.column_counts.tolist()
        pairs = self.genuine_by_identity.tolist()
        for identity in range(first, self.identities, step):
            if not pairs[identity]:
                continue
            end = row_ends[identity]
            left, right = column_ends[identity] - column_counts[identity], column_ends[identity]
            for top in range(end - row_counts[identity], end, BLOCK):
                yield identity, self._genuine_strip(top, min(top + BLOCK, end), left, right)

    def identity_counts(self) -> tuple[np.ndarray, float]:
        """Count the impostor pairs of each identity, and the sum of squares of those of each two identities.

        Returns:
            (identities,) pairs with the identity on either side, and the sum over unordered pairs of identities of
            the squared number of impostor pairs between them. Pairs left out are subtracted from the former alone.
        """
        rows, columns = self.row_counts.double().cpu().numpy(), self.column_counts.double().cpu().numpy()
        if self.one_set:
            counts = rows * (rows.sum() - rows)
            squares = ((rows**2).sum() ** 2 - (rows**4).sum()) / 2
            return counts, float(squares)
        counts = rows * (columns.sum() - columns) + columns * (rows.sum() - rows)
        # Between i and j there are r_i c_j + r_j c_i pairs; the square is summed over i < j.
        squares = (
            (rows**2).sum() * (columns**2).sum()
            + (rows * columns).sum() ** 2
            - 2 * ((rows * columns) ** 2).sum()
        )  # fmt: skip
        if len(self.left_out):
            shots = self.left_out.cpu()
            people = self.row_identities.cpu()[shots[:, 0]], self.column_identities.cpu()[shots[:, 1]]
            strangers = people[0] != people[1]
            for side in people:
                counts -= torch.bincount(side[strangers], minlength=self.identities).numpy()
        return counts, float(squares)

    def _buffer(self, height: int, width: int) -> Tensor:
        """Give the block's memory: fresh blocks between small results that stay would tear the heap to pieces."""
        if (height, width) not in self._buffers:
            self._buffers[height, width] = torch.empty((height, width), device=self.rows.device)
        return self._buffers[height, width]

    def _genuine_strip(self, top: int, bottom: int, left: int, right: int) -> PairScores:
        scores = self.rows[top:bottom] @ self.columns[left:right].T
        counted = torch.ones_like(scores, dtype=torch.bool)
        if self.one_set:
            counted = counted.triu(diagonal=1 + top - left)
        if len(self.left_out):
            first, last = torch.searchsorted(
                self.left_out[:, 0].contiguous(), self.left_out.new_tensor([top, bottom])
            ).tolist()
            places = self.left_out[first:last]
            places = places[(places[:, 1] >= left) & (places[:, 1] < right)]
            counted[places[:, 0] - top, places[:, 1] - left] = False
        places = counted.nonzero()
        return PairScores(scores[counted], places[:, 0] + top, places[:, 1] + left)

    def _sorted_places(self, left_out: Tensor) -> Tensor:
        """Turn pairs of given places into sorted pairs of sorted places."""
        if not len(left_out):
            return left_out
        place = [torch.empty_like(order) for order in (self.row_order, self.column_order)]
        for order, inverse in zip((self.row_order, self.column_order), place, strict=True):
            inverse[order] = torch.arange(len(order), device=order.device)
        moved = torch.stack([place[0][left_out[:, 0]], place[1][left_out[:, 1]]], dim=1)
        in_order: Tensor = torch.unique(moved, dim=0)
        return in_order

    def _count_genuine(self) -> Tensor:
        if self.one_set:
            return self.row_counts * (self.row_counts - 1) // 2
        counts = self.row_counts * self.column_counts
        people = self.row_identities[self.left_out[:, 0]], self.column_identities[self.left_out[:, 1]]
        return counts - torch.bincount(people[0][people[0] == people[1]], minlength=self.identities)


def _units(embeddings: np.ndarray, what: str) -> Tensor:
    array = np.asarray(embeddings)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"expected {what} of shape (N, D), got {array.shape}; give one row an image")
    if array.dtype.kind not in "fiub":
        raise InputError(f"expected {what} of real numbers, got {array.dtype}; save the vectors themselves")
    with np.errstate(over="ignore"):
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    lengths = tensor.norm(dim=1)
    bad = ~(torch.isfinite(lengths) & (lengths > 0))
    if bad.any():
        # Squares of very large or small numbers leave float32, the vectors themselves are sound.
        rows = array[bad.numpy()].astype(np.float64)
        largest = np.abs(rows).max(axis=1, keepdims=True)
        sound = np.isfinite(largest[:, 0]) & (largest[:, 0] > 0)
        places = bad.nonzero()[:, 0][torch.from_numpy(sound)]
        tensor[places] = torch.from_numpy((rows[sound] / largest[sound]).astype(np.float32))
        lengths[places] = tensor[places].norm(dim=1)
        bad[places] = False
    if bad.any():
        raise InputError(
            f"expected finite {what} of positive length, got {int(bad.sum())} with NaN, infinity or only zeros, "
            f"the first in row {int(bad.nonzero()[0])}; leave failed images out and count them as failures"
        )
    units: Tensor = tensor / lengths[:, None]
    return units


def _codes(labels: np.ndarray, length: int, what: str) -> Tensor:
    array = _checked_labels(labels, length, what)
    return torch.from_numpy(np.unique(array, return_inverse=True)[1].astype(np.int64))


def _checked_labels(labels: np.ndarray, length: int, what: str) -> np.ndarray:
    array = np.asarray(labels)
    if array.shape != (length,):
        raise InputError(f"expected {what} of shape ({length},), got {array.shape}; give one an embedding")
    if array.dtype.kind == "f" and np.isnan(array).any():
        missing = np.isnan(array)
        raise InputError(
            f"expected {what} without NaN, got {int(missing.sum())}, the first at {int(missing.argmax())}; an image of "
            "nobody is in no pair: leave it out"
        )
    return array


def _checked_captures(captures: np.ndarray | None, length: int) -> list[str | None]:
    if captures is None:
        return []
    if len(captures) != length:
        raise InputError(f"expected {length} captures, got {len(captures)}; give one an embedding, or None")
    return [None if capture is None else str(capture) for capture in captures]


def _pairs_of_one_capture(gallery: list[str | None], probe: list[str | None]) -> Tensor:
    rows: dict[str, list[int]] = {}
    for row, capture in enumerate(gallery):
        if capture is not None:
            rows.setdefault(capture, []).append(row)
    shots = [(row, column) for column, shot in enumerate(probe) if shot is not None for row in rows.get(shot, [])]
    return torch.tensor(shots, dtype=torch.int64).reshape(-1, 2)
