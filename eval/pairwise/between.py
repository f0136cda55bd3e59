"""The impostor pairs whose scores lie strictly between two limits, kept with their images, and counts of the others."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from facexfer.eval.pairwise import between_on_gpu
from facexfer.eval.pairwise.pairs import PairScores


@dataclass(frozen=True)
class Found:
    """What was found in the blocks that were looked through.

    Attributes:
        inside: How many scores lie strictly between the limits.
        at_low: How many are equal to the lower one; 0 where that is minus infinity.
        high_by_image: (R + Q,) int64, how many of each row image, then of each column image, reach the upper one.
        kept: The pairs between the limits; of more than there is room for, some of them.
    """

    inside: int
    at_low: int
    high_by_image: Tensor
    kept: PairScores


class Between(Protocol):
    """Looks through blocks of scores."""

    def add(self, block: Tensor, top: int, left: int) -> None:
        """Look through a block (H, W), whose first row and column are ``top`` and ``left``; skip minus infinity."""
        ...

    def found(self) -> Found:
        """What was in the blocks so far."""
        ...


def pairs_between(low: float, high: float, room: int, sides: tuple[int, int], device: torch.device) -> Between:
    """Make what looks for the pairs between two limits: one kernel on a GPU with Triton, else torch's own operations.

    Args:
        low: The lower limit, or minus infinity.
        high: The upper limit, or infinity.
        room: How many pairs are kept.
        sides: How many row images and column images there are.
        device: Where the blocks are.
    """
    if between_on_gpu.is_usable(device):
        found_on_gpu = between_on_gpu.Filter(low, high, room, sides, device)
        return _OnGpu(found_on_gpu)
    return _ByTorch(low, high, room, sides, device)


class _OnGpu:
    def __init__(self, work: between_on_gpu.Filter) -> None:
        self._work = work
        self.add = work.add

    def found(self) -> Found:
        inside, at_low, high_by_image, scores, rows, columns = self._work.found()
        # The pairs come in any order: scores that tie need one.
        order = torch.argsort(rows.long() * (2**31) + columns)
        return Found(inside, at_low, high_by_image, PairScores(scores[order], rows[order], columns[order]))


class _ByTorch:
    def __init__(self, low: float, high: float, room: int, sides: tuple[int, int], device: torch.device) -> None:
        self._low, self._high = low, high
        self._inside = self._at_low = 0
        self._rows = sides[0]
        self._high_by_image = torch.zeros(sum(sides), dtype=torch.int64, device=device)
        self._masks = torch.empty((2, 0), dtype=torch.bool, device=device)
        self._kept = _Kept(device, room)

    def add(self, block: Tensor, top: int, left: int) -> None:
        inside, mask = self._memory(block)
        # Pairs at the lower limit are rare, or else many: they come along and are counted apart.
        torch.gt(block, self._low, out=inside) if self._low == -math.inf else torch.ge(block, self._low, out=inside)
        if self._high < math.inf:
            torch.ge(block, self._high, out=mask)
            self._high_by_image[top : top + block.shape[0]] += mask.sum(dim=1)
            first = self._rows + left
            self._high_by_image[first : first + block.shape[1]] += mask.sum(dim=0)
            inside.logical_xor_(mask)
        rows, columns = inside.nonzero(as_tuple=True)
        if not len(rows):
            return
        scores = block[rows, columns]
        above = (scores > self._low).nonzero()[:, 0]
        if len(above) < len(scores):
            self._at_low += len(scores) - len(above)
            scores, rows, columns = scores[above], rows[above], columns[above]
        self._inside += len(scores)
        self._kept.add(scores, rows + top, columns + left)

    def found(self) -> Found:
        return Found(self._inside, self._at_low, self._high_by_image, self._kept.all())

    def _memory(self, block: Tensor) -> tuple[Tensor, Tensor]:
        """Memory for two masks, kept for the reason that `PairSet` keeps its blocks' memory."""
        size = block.numel()
        if self._masks.shape[1] < size:
            self._masks = torch.empty((2, size), dtype=torch.bool, device=block.device)
        one, other = (mask[:size].view(block.shape) for mask in self._masks)
        return one, other


class _Kept:
    """A growing list of scores with their images, in one piece: many small ones would tear the heap to pieces.

    Of more than there is room for, every second is dropped, again and again.
    """

    def __init__(self, device: torch.device, room: int) -> None:
        self._count, self._room, self._stride = 0, room, 1
        self._columns = [
            torch.empty(1024, device=device, dtype=each) for each in (torch.float32, torch.int32, torch.int32)
        ]

    def add(self, *values: Tensor) -> None:
        thinned = [value[:: self._stride] for value in values]
        while self._count + len(thinned[0]) > self._room:
            halves = [column[: self._count : 2].clone() for column in self._columns]
            self._count = len(halves[0])
            for column, half in zip(self._columns, halves, strict=True):
                column[: self._count] = half
            thinned = [value[::2] for value in thinned]
            self._stride *= 2
        end = self._count + len(thinned[0])
        if end > len(self._columns[0]):
            room = max(end, min(2 * len(self._columns[0]), self._room)) - self._count
            self._columns = [torch.cat([each[: self._count], each.new_empty(room)]) for each in self._columns]
        for column, value in zip(self._columns, thinned, strict=True):
            column[self._count : end] = value
        self._count = end

    def all(self) -> PairScores:
        return PairScores(*(column[: self._count] for column in self._columns))
