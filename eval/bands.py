"""The highest impostor scores of a pair set: exact thresholds in one pass, without holding the scores.

A sample tells between which two scores each threshold must lie. One pass then counts the pairs above the upper one
and keeps those between with their images, which decides the threshold exactly, ties included. Where the sample was
misleading, the counts show it and the pass is repeated with other limits. The ranks of a distributed run share the
blocks; each gets the same result to the last digit.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from facexfer.eval.pairs import PairScores, PairSet

KEPT = 4_000_000
"""Up to so many impostor scores are kept whole rather than looked at through a sample."""
_SAMPLED = 2048


@dataclass(frozen=True)
class Cut:
    """A threshold and the impostor pairs above it.

    Attributes:
        threshold: The (k+1)-th highest impostor score; minus infinity where k is all of them.
        accepted: How many impostor pairs lie strictly above.
        by_image: (R + Q,) how many with each row image, then with each column image.
        above: Those pairs themselves, or None where they are too many to keep.
    """

    threshold: float
    accepted: int
    by_image: Tensor
    above: PairScores | None


def find_cuts(pairs: PairSet, ranks: list[int]) -> list[Cut]:
    """Find the thresholds below which only so many impostor scores lie above.

    Args:
        pairs: What is compared.
        ranks: k of each threshold, each at most the number of impostor pairs.

    Returns:
        One cut a rank.
    """
    limits = _Limits(pairs, ranks)
    cuts: dict[int, Cut] = {}
    while len(cuts) < len(set(ranks)):
        wanted = [rank for rank in sorted(set(ranks)) if rank not in cuts]
        bands = limits.bands(wanted)
        _fill(pairs, bands)
        for band in bands:
            for rank in band.ranks:
                cut = band.cut(rank)
                if cut is not None:
                    cuts[rank] = cut
        limits.widen()
    return [cuts[rank] for rank in ranks]


class _Band:
    """The impostor scores strictly between two limits, each with its images, and counts of what lies outside."""

    def __init__(self, pairs: PairSet, ranks: list[int], low: float, high: float) -> None:
        self.ranks, self.low, self.high = ranks, low, high
        device = pairs.rows.device
        self.at_low = torch.zeros((), dtype=torch.int64, device=device)
        self.by_image = torch.zeros(len(pairs.rows) + len(pairs.columns), dtype=torch.int64, device=device)
        self._columns_from = len(pairs.rows)
        self._memory: list[Tensor] = []
        self._kept = _Kept(device)
        self.kept: PairScores

    def add(self, block: Tensor, top: int, left: int) -> None:
        inside, mask = self._masks(block)
        torch.gt(block, self.low, out=inside)
        if self.low > -math.inf:
            self.at_low += torch.eq(block, self.low, out=mask).count_nonzero()
        if self.high < math.inf:
            torch.ge(block, self.high, out=mask)
            self.by_image[top : top + block.shape[0]] += mask.sum(dim=1)
            first = self._columns_from + left
            self.by_image[first : first + block.shape[1]] += mask.sum(dim=0)
            inside.logical_and_(mask.logical_not_())
        places = inside.nonzero()
        if len(places):
            rows, columns = places[:, 0], places[:, 1]
            self._kept.add(block[rows, columns], rows + top, columns + left)

    def _masks(self, block: Tensor) -> tuple[Tensor, Tensor]:
        """Give the memory of two masks, for the reason that `PairSet` keeps its blocks' memory."""
        if not self._memory or self._memory[0].shape != block.shape:
            self._memory = [torch.empty_like(block, dtype=torch.bool) for _ in range(2)]
        return self._memory[0], self._memory[1]

    def close(self) -> None:
        """Put what was kept in order, over all ranks."""
        device = self.by_image.device
        kept = self._kept.all()
        if distributed.is_initialized():
            everybodys: list[PairScores] = [kept] * distributed.get_world_size()
            distributed.all_gather_object(
                everybodys, PairScores(kept.scores.cpu(), kept.rows.cpu(), kept.columns.cpu())
            )
            kept = _joined(
                [PairScores(p.scores.to(device), p.rows.to(device), p.columns.to(device)) for p in everybodys]
            )
            distributed.all_reduce(self.at_low)
            distributed.all_reduce(self.by_image)
            # The blocks' order differs with the number of ranks; scores that tie need one order.
            order = torch.argsort(kept.rows.long() * (2**31) + kept.columns)
            kept = PairScores(kept.scores[order], kept.rows[order], kept.columns[order])
        order = torch.argsort(kept.scores, descending=True, stable=True)
        self.kept = PairScores(kept.scores[order], kept.rows[order], kept.columns[order])

    def cut(self, rank: int) -> Cut | None:
        """Find the threshold with so many scores above, or None if it is not between the limits."""
        already = int(self.by_image[: self._columns_from].sum())
        place = rank - already
        inside = len(self.kept.scores)
        if place < 0 or (place >= inside + int(self.at_low) and self.low > -math.inf):
            return None
        if place < inside:
            threshold = float(self.kept.scores[place])
        elif self.low > -math.inf:
            threshold = self.low
        else:
            # A target of 1 accepts everybody: there is no (N+1)-th score.
            threshold = -math.inf
        accepted = int((self.kept.scores > threshold).sum())
        above = PairScores(self.kept.scores[:accepted], self.kept.rows[:accepted], self.kept.columns[:accepted])
        by_image = self.by_image.clone()
        by_image += torch.bincount(above.rows, minlength=len(by_image))
        by_image += torch.bincount(above.columns + self._columns_from, minlength=len(by_image))
        return Cut(threshold, already + accepted, by_image, above if math.isinf(self.high) else None)


class _Kept:
    """A growing list of scores with their images, in one piece: many small ones would tear the heap to pieces."""

    def __init__(self, device: torch.device) -> None:
        self._count = 0
        self._columns = [
            torch.empty(1024, device=device, dtype=each) for each in (torch.float32, torch.int32, torch.int32)
        ]

    def add(self, *values: Tensor) -> None:
        end = self._count + len(values[0])
        if end > len(self._columns[0]):
            room = max(end, 2 * len(self._columns[0])) - self._count
            self._columns = [torch.cat([each[: self._count], each.new_empty(room)]) for each in self._columns]
        for column, value in zip(self._columns, values, strict=True):
            column[self._count : end] = value
        self._count = end

    def all(self) -> PairScores:
        return PairScores(*(column[: self._count] for column in self._columns))


class _Limits:
    """Where the thresholds must lie, guessed from the scores of a sample of images, wider with every try."""

    def __init__(self, pairs: PairSet, ranks: list[int]) -> None:
        self._pairs = pairs
        self._share = 1.15
        self._sample = torch.empty(0)
        if pairs.impostor_pairs > KEPT:
            self._sample = _sample_scores(pairs)

    def widen(self) -> None:
        self._share = self._share**3

    def bands(self, ranks: list[int]) -> list[_Band]:
        if not len(self._sample):
            return [_Band(self._pairs, ranks, -math.inf, math.inf)]
        few = [rank for rank in ranks if rank <= KEPT // 4]
        bands = [_Band(self._pairs, few, self._low(max(few)), math.inf)] if few else []
        many = [rank for rank in ranks if rank > KEPT // 4]
        return bands + [_Band(self._pairs, [rank], self._low(rank), self._high(rank)) for rank in many]

    def _low(self, rank: int) -> float:
        expected = (rank + 1) / self._pairs.impostor_pairs * len(self._sample)
        place = math.ceil(expected * self._share + 4 * math.sqrt(expected) + 10)
        return float(self._sample[place]) if place < len(self._sample) else -math.inf

    def _high(self, rank: int) -> float:
        expected = rank / self._pairs.impostor_pairs * len(self._sample)
        place = math.floor(expected / self._share - 4 * math.sqrt(expected)) - 1
        if place < 0:
            return math.inf
        # Of tied scores none may be left below the limit that the threshold is surely not among.
        place = int((self._sample > self._sample[place]).sum()) - 1
        return float(self._sample[place]) if place >= 0 else math.inf


def _sample_scores(pairs: PairSet) -> Tensor:
    """Give the impostor scores, highest first, of a fixed random choice of rows and columns."""
    generator = torch.Generator().manual_seed(0)
    chosen = []
    for images in (len(pairs.rows), len(pairs.columns)):
        count = min(images, _SAMPLED)
        chosen.append(torch.randperm(images, generator=generator)[:count].to(pairs.rows.device))
    scores = pairs.rows[chosen[0]] @ pairs.columns[chosen[1]].T
    strangers = pairs.row_identities[chosen[0]][:, None] != pairs.column_identities[chosen[1]][None, :]
    return scores[strangers].sort(descending=True).values


def _fill(pairs: PairSet, bands: list[_Band]) -> None:
    rank, ranks = 0, 1
    if distributed.is_initialized():
        rank, ranks = distributed.get_rank(), distributed.get_world_size()
    for top, left in pairs.block_starts()[rank::ranks]:
        block = pairs.impostor_scores(top, left)
        for band in bands:
            band.add(block, top, left)
    for band in bands:
        band.close()


def _joined(parts: list[PairScores]) -> PairScores:
    return PairScores(
        torch.cat([part.scores for part in parts]),
        torch.cat([part.rows for part in parts]),
        torch.cat([part.columns for part in parts]),
    )


def _moved(kept: PairScores, device: torch.device | str) -> PairScores:
    return PairScores(kept.scores.to(device), kept.rows.to(device), kept.columns.to(device))
