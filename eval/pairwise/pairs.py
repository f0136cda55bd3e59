"""Which embeddings are compared with which, and their scores, block by block: the score matrix is never held.

The images are sorted by identity, so that genuine pairs lie together and few blocks hold any. Scores are cosines in
float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facexfer.errors import InputError
from facexfer.eval.pairwise.inputs import (
    Vectors,
    distinct_pairs,
    groups_of_identities,
    label_codes,
    pairs_of_one_capture,
    unit_embeddings,
)
from facexfer.eval.pairwise.labels import join_labels, read_captures

BLOCK = 1024
"""Rows and columns of a block on a CPU, whose caches it should not leave by far."""
GPU_BLOCK = (2048, 131_072)
"""Rows and columns of a block on a GPU: a GiB of scores a kernel. Of the rows squared, half is computed in vain."""
STRIP = 128
"""Rows of a block of genuine pairs on a CPU: neighbouring identities share one."""
GPU_STRIP = 1024


def shape_of_blocks(device: torch.device) -> tuple[int, int, int]:
    """A device's rows and columns per block, and rows per block of genuine pairs."""
    return (BLOCK, BLOCK, STRIP) if device.type == "cpu" else (*GPU_BLOCK, GPU_STRIP)


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
        left_out: (E, 2) pairs (row, column) within a group that do not count, sorted.
        groups: (I,) numbers of the identities' groups, of which no two are compared; None where all are.
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
        groups: Tensor | None = None,
    ) -> None:
        self.groups = groups
        self.identities = int(max(row_labels.max(), column_labels.max())) + 1
        self.one_set = one_set
        self._height, self._width, self._strip = shape_of_blocks(rows.device)
        self._memory = torch.empty(0, device=rows.device)
        self.row_order = torch.argsort(row_labels, stable=True)
        self.rows, self.row_identities = rows[self.row_order], row_labels[self.row_order]
        if one_set:
            self.column_order, self.columns, self.column_identities = self.row_order, self.rows, self.row_identities
        else:
            self.column_order = torch.argsort(column_labels, stable=True)
            self.columns, self.column_identities = columns[self.column_order], column_labels[self.column_order]
        self._row_groups = self._groups_of(self.row_identities)
        self._column_groups = self._groups_of(self.column_identities)
        self.left_out = self._within_groups(self._sorted_places(left_out))
        # What decides how to go about a block is looked up without waiting for a device.
        self._row_people, self._column_people = self.row_identities.cpu(), self.column_identities.cpu()
        self._left_out = self.left_out.cpu()
        self.row_counts = torch.bincount(self.row_identities, minlength=self.identities)
        self.column_counts = torch.bincount(self.column_identities, minlength=self.identities)
        self.genuine_by_identity = self._count_genuine()
        self.genuine_pairs = int(self.genuine_by_identity.sum())
        self.impostor_pairs = self._count_pairs() - len(self.left_out) - self.genuine_pairs
        if self.genuine_pairs == 0:
            raise InputError("expected at least one genuine pair, got none; nobody has two images that can be compared")
        if self.impostor_pairs == 0:
            raise InputError("expected at least one impostor pair, got none; all images are of one person")

    @classmethod
    def within(
        cls,
        embeddings: Vectors,
        labels: np.ndarray,
        device: str = "cpu",
        left_out: Tensor | None = None,
        groups: np.ndarray | None = None,
    ) -> "PairSet":
        """Take every unordered pair of one set, or of each of its groups.

        Args:
            embeddings: (N, D), of any length.
            labels: (N,), equal for one person.
            device: Where the products are made.
            left_out: (E, 2) places of pairs that do not count; None leaves none out.
            groups: (N,) whole numbers, equal for images that are compared, such as the fold of a cross-validation:
                each has been embedded by its own network. None compares all.

        Returns:
            The pairs.

        Raises:
            InputError: If shapes do not fit, an embedding is zero or not finite, or a kind of pair is missing.
        """
        units = unit_embeddings(embeddings, "embeddings", torch.device(device))
        codes = label_codes(labels, len(units), "labels").to(device)
        nothing = torch.empty((0, 2), dtype=torch.int64) if left_out is None else left_out
        if groups is None:
            return cls(units, units, codes, codes, nothing.to(device), one_set=True)
        of_identity = groups_of_identities((groups, codes.cpu()))
        return cls(units, units, codes, codes, nothing.to(device), one_set=True, groups=of_identity)

    @classmethod
    def against(
        cls,
        gallery: Vectors,
        gallery_labels: np.ndarray,
        probe: Vectors,
        probe_labels: np.ndarray,
        gallery_captures: np.ndarray | None = None,
        probe_captures: np.ndarray | None = None,
        device: str = "cpu",
        left_out: Tensor | None = None,
        groups: tuple[np.ndarray, np.ndarray] | None = None,
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
            left_out: (E, 2) places of other pairs that do not count.
            groups: (G,) and (Q,) as for `within`.

        Returns:
            The pairs.

        Raises:
            InputError: As for `within`, or if the embeddings differ in size.
        """
        rows, columns = (
            unit_embeddings(each, what, torch.device(device)) for each, what in ((gallery, "gallery"), (probe, "probe"))
        )
        if rows.shape[1] != columns.shape[1]:
            raise InputError(
                f"expected gallery and probe embeddings of one size, got {rows.shape[1]} and {columns.shape[1]}; "
                "embed both with one network"
            )
        both = join_labels((gallery_labels, len(rows), "gallery labels"), (probe_labels, len(columns), "probe labels"))
        codes = [torch.from_numpy(each).to(device) for each in both]
        shots = pairs_of_one_capture(
            read_captures(gallery_captures, len(rows)), read_captures(probe_captures, len(columns))
        )
        if left_out is not None:
            shots = torch.cat([shots, left_out.cpu()])
        of_identity = None
        if groups is not None:
            of_identity = groups_of_identities(*zip(groups, (each.cpu() for each in codes), strict=True))
        return cls(rows, columns, codes[0], codes[1], shots.to(device), one_set=False, groups=of_identity)

    def block_starts(self) -> list[tuple[int, int]]:
        """The corners (first row, first column) of all blocks; for one set, of the upper triangle alone."""
        return [
            (top, left)
            for top in range(0, len(self.rows), self._height)
            for left in range(top if self.one_set else 0, len(self.columns), self._width)
        ]

    def blocks(self) -> list[tuple[int, int, int, int]]:
        """All blocks in full: first row, first column, one past the last row, one past the last column."""
        ends = len(self.rows), len(self.columns)
        return [
            (top, left, min(top + self._height, ends[0]), min(left + self._width, ends[1]))
            for top, left in self.block_starts()
        ]

    def impostor_scores(self, top: int, left: int) -> Tensor:
        """Compute a block's scores, with minus infinity wherever there is no impostor pair that counts.

        Args:
            top: The block's first row.
            left: Its first column.

        Returns:
            (rows, columns) float32; the next call overwrites them.
        """
        bottom, right = min(top + self._height, len(self.rows)), min(left + self._width, len(self.columns))
        scores = self._block(bottom - top, right - left)
        with _full_precision():
            torch.mm(self.rows[top:bottom], self.columns[left:right].T, out=scores)
        first, last = self._columns_of(top, bottom)
        first, last = max(first, left), min(last, right)
        if first < last:
            same = self.row_identities[top:bottom, None] == self.column_identities[None, first:last]
            scores[:, first - left : last - left].masked_fill_(same, -torch.inf)
        if self.groups is not None:
            apart = self._row_groups[top:bottom, None] != self._column_groups[None, left:right]
            scores.masked_fill_(apart, -torch.inf)
        if self.one_set and top == left:
            square = scores[:, : bottom - top]
            square.masked_fill_(torch.ones_like(square, dtype=torch.bool).tril(), -torch.inf)
        places = self._left_out_in(top, bottom, left, right).to(scores.device)
        if len(places):
            scores[places[:, 0], places[:, 1]] = -torch.inf
        return scores

    def genuine_blocks(self) -> list[tuple[int, int]]:
        """Rows (first, last + 1) that split the images into blocks for `genuine_scores`."""
        people = self._row_people
        blocks, row = [], 0
        while row < len(people):
            # Whole identities where they fit.
            last = row + self._strip
            bottom = int(torch.searchsorted(people, people[last])) if last < len(people) else len(people)
            if bottom <= row:
                bottom = min(int(torch.searchsorted(people, people[row], right=True)), row + self._height)
            blocks.append((row, bottom))
            row = bottom
        return blocks

    def genuine_scores(self, top: int, bottom: int) -> tuple[Tensor, int]:
        """Compute the scores of some images' genuine pairs, with minus infinity in place of pairs that do not count.

        Args:
            top: The first row.
            bottom: After the last, as `genuine_blocks` gives them.

        Returns:
            (bottom - top, columns) float32 and the first column's place.
        """
        left, right = self._columns_of(top, bottom)
        with _full_precision():
            scores = torch.mm(self.rows[top:bottom], self.columns[left:right].T)
        counted = self.row_identities[top:bottom, None] == self.column_identities[None, left:right]
        if self.one_set:
            counted = counted.triu(diagonal=1 + top - left)
        places = self._left_out_in(top, bottom, left, right).to(scores.device)
        if len(places):
            counted[places[:, 0], places[:, 1]] = False
        return scores.masked_fill_(counted.logical_not_(), -torch.inf), left

    def genuine_pairs_of(self, top: int, bottom: int) -> PairScores:
        """The genuine pairs of some images, as in `genuine_scores`, as a list in the order of the rows."""
        scores, left = self.genuine_scores(top, bottom)
        rows, columns = (scores > -torch.inf).nonzero(as_tuple=True)
        return PairScores(scores[rows, columns], rows + top, columns + left)

    def identity_counts(self) -> tuple[np.ndarray, float]:
        """Count the impostor pairs of each identity, and the sum of squares of those of each two identities.

        Returns:
            (identities,) pairs with the identity on either side, and the sum over unordered pairs of identities of
            the squared number of impostor pairs between them. Pairs left out are subtracted from the former alone.
        """
        rows, columns = self.row_counts.double().cpu().numpy(), self.column_counts.double().cpu().numpy()
        groups = self.identity_groups.cpu().numpy()

        def in_group(values: np.ndarray) -> np.ndarray:
            return np.bincount(groups, values)

        if self.one_set:
            counts = rows * (in_group(rows)[groups] - rows)
            squares = ((in_group(rows**2) ** 2).sum() - (rows**4).sum()) / 2
        else:
            counts = rows * (in_group(columns)[groups] - columns) + columns * (in_group(rows)[groups] - rows)
            # Between i and j there are r_i c_j + r_j c_i pairs; the square is summed over i < j.
            squares = (
                (in_group(rows**2) * in_group(columns**2)).sum()
                + (in_group(rows * columns) ** 2).sum()
                - 2 * ((rows * columns) ** 2).sum()
            )  # fmt: skip
        left_out = self.left_out.cpu().numpy()
        first, second = (
            people.cpu().numpy()[places]
            for people, places in ((self.row_identities, left_out[:, 0]), (self.column_identities, left_out[:, 1]))
        )
        strangers = first != second
        for side in (first, second):
            counts -= np.bincount(side[strangers], minlength=self.identities)
        return counts, float(squares)

    def _block(self, height: int, width: int) -> Tensor:
        """The blocks' memory: fresh blocks between small, long-lived results would fragment the heap."""
        if len(self._memory) < height * width:
            self._memory = torch.empty(height * width, device=self.rows.device)
        return self._memory[: height * width].view(height, width)

    def _columns_of(self, top: int, bottom: int) -> tuple[int, int]:
        """The columns (first, last + 1) of the identities from one row's to another's."""
        ends = self._row_people[[top, bottom - 1]]
        first = int(torch.searchsorted(self._column_people, ends[0]))
        return first, int(torch.searchsorted(self._column_people, ends[1], right=True))

    def _left_out_in(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        """The places within a block of the pairs that do not count."""
        if not len(self._left_out):
            return self._left_out
        ends = torch.tensor([top, bottom])
        first, last = torch.searchsorted(self._left_out[:, 0].contiguous(), ends).tolist()
        places = self._left_out[first:last]
        places = places[(places[:, 1] >= left) & (places[:, 1] < right)]
        return places - torch.tensor([top, left])

    def _sorted_places(self, left_out: Tensor) -> Tensor:
        """Turn pairs of given places into sorted pairs of sorted places."""
        if not len(left_out):
            return left_out
        place = [torch.empty_like(order) for order in (self.row_order, self.column_order)]
        for order, inverse in zip((self.row_order, self.column_order), place, strict=True):
            inverse[order] = torch.arange(len(order), device=order.device)
        moved = torch.stack([place[0][left_out[:, 0]], place[1][left_out[:, 1]]], dim=1)
        if self.one_set:
            # The block above the diagonal holds them.
            moved = moved.sort(dim=1).values
        return distinct_pairs(moved, len(self.column_order))

    @property
    def identity_groups(self) -> Tensor:
        """The groups of the identities, (I,) int64 on the rows' device; 0 where all are compared."""
        groups = torch.zeros(self.identities, dtype=torch.int64) if self.groups is None else self.groups
        return groups.to(self.rows.device)

    def _groups_of(self, identities: Tensor) -> Tensor:
        """The groups of some images, (N,) int32; 0 where all are compared."""
        return self.identity_groups.to(torch.int32)[identities]

    def _within_groups(self, places: Tensor) -> Tensor:
        """Drop the pairs across groups, none of which counts anyway."""
        return places[self._row_groups[places[:, 0]] == self._column_groups[places[:, 1]]]

    def _count_pairs(self) -> int:
        """Count the pairs of all groups, those of one person and those left out among them."""
        groups = int(max(self._row_groups.max(), self._column_groups.max())) + 1
        rows, columns = (
            torch.bincount(each, minlength=groups).tolist() for each in (self._row_groups, self._column_groups)
        )
        if self.one_set:
            return sum(count * (count - 1) // 2 for count in rows)
        return sum(row * column for row, column in zip(rows, columns, strict=True))

    def _count_genuine(self) -> Tensor:
        counts = self.row_counts * (self.row_counts - 1) // 2 if self.one_set else self.row_counts * self.column_counts
        people = self.row_identities[self.left_out[:, 0]], self.column_identities[self.left_out[:, 1]]
        return counts - torch.bincount(people[0][people[0] == people[1]], minlength=self.identities)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Multiply float32 as such, also where a recipe lets training use TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
