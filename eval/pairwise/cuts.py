"""The highest impostor scores of a pair set: exact thresholds without holding the scores.

A sample tells between which two scores each threshold must lie. One pass then counts the pairs above the upper one
and keeps those between with their images, which decides the threshold exactly, ties included. Where the sample was
misleading, or more lies between than there is room for, the exact counts of that pass narrow the search and it is
repeated. The ranks of a distributed run share the blocks; each gets the same result, bit for bit.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, distributed

from facexfer.eval.pairwise.between import Found, pairs_between
from facexfer.eval.pairwise.brackets import Bracket, next_above, sampled_bracket
from facexfer.eval.pairwise.pairs import PairScores, PairSet
from facexfer.eval.pairwise.ranks import place, sum_over_ranks

KEPT = 4_000_000
"""Up to this many impostor scores are all kept instead of sampled; of others, twice as many."""
_SAMPLED = 2048
LEAST_ROOM = 1024
"""A band has room for at least this many pairs, even where none are kept."""


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
    """Find the thresholds that only a given number of impostor scores exceed.

    Args:
        pairs: What is compared.
        ranks: k of each threshold, each at most the number of impostor pairs.

    Returns:
        One cut a rank.
    """
    cuts = {rank: _accept_everybody(pairs) for rank in ranks if rank == pairs.impostor_pairs > KEPT}
    groups = _grouped(pairs, sorted(set(ranks) - set(cuts)))
    brackets = _first_brackets(pairs, groups)
    while groups:
        others = sum(not _reaches_top(pairs, group) for group in groups)
        bands = [
            _Band(pairs, group, bracket, max(LEAST_ROOM, 2 * KEPT // (1 if _reaches_top(pairs, group) else others)))
            for group, bracket in zip(groups, brackets, strict=True)
        ]
        fill_bands(pairs, bands)
        groups, brackets = [], []
        for band in bands:
            found = {rank: cut for rank in band.ranks if (cut := band.cut(rank)) is not None}
            cuts |= found
            if len(found) < len(band.ranks):
                groups.append([rank for rank in band.ranks if rank not in found])
                brackets.append(band.narrowed(groups[-1][-1]))
    return [cuts[rank] for rank in ranks]


class _Band:
    """The impostor scores strictly between two limits, each with its images, and counts of what lies outside."""

    def __init__(self, pairs: PairSet, ranks: list[int], bracket: Bracket, room: int) -> None:
        self.ranks = ranks
        self._bracket, self._room = bracket, room
        self._to_top = _reaches_top(pairs, ranks)
        self._low, self._high = bracket.limits(ranks[-1], room, self._to_top)
        self._device, self._columns_from = pairs.rows.device, len(pairs.rows)
        sides = (len(pairs.rows), len(pairs.columns))
        self._between = pairs_between(self._low, self._high, room, sides, self._device)
        self.add = self._between.add
        self._found: Found

    def close(self) -> None:
        """Put what was kept in order, over all ranks."""
        found = self._between.found()
        if distributed.is_initialized():
            found = _over_all_ranks(found, self._device)
        order = torch.argsort(found.kept.scores, descending=True, stable=True)
        self._found = replace(found, kept=_chosen(found.kept, order))

    def cut(self, rank: int) -> Cut | None:
        """Find the threshold that this many scores exceed, or None if it is not known yet."""
        already, inside, at_low = self._counts()
        place = rank - already
        # A target of 1 accepts everybody: there is no (N+1)-th score.
        everybody = self._low == -math.inf and place == inside
        if inside > self._room or not (0 <= place < inside + at_low or everybody):
            return None
        kept = self._found.kept
        threshold = float(kept.scores[place]) if place < inside else self._low
        accepted = int((kept.scores > threshold).sum())
        above = _chosen(kept, slice(accepted))
        by_image = self._found.high_by_image.clone()
        by_image += torch.bincount(above.rows, minlength=len(by_image))
        by_image += torch.bincount(above.columns + self._columns_from, minlength=len(by_image))
        return Cut(threshold, already + accepted, by_image, above if self._to_top else None)

    def narrowed(self, rank: int) -> Bracket:
        """Where a rank's score must lie after this pass has not found it."""
        already, inside, at_low = self._counts()
        known = self._bracket
        if rank < already:
            return known.within(self._high, known.high, known.base, already - known.base)
        if rank < already + inside:
            # Too many to keep: those that were kept are a sample.
            return sampled_bracket(next_above(self._low), self._high, already, inside, self._found.kept.scores)
        above = already + inside
        if rank < above + at_low:
            return known.within(self._low, next_above(self._low), above, at_low)
        below = known.base + known.mass - above - at_low
        return known.within(known.low, self._low, above + at_low, below)

    def _counts(self) -> tuple[int, int, int]:
        """Count scores at or above the upper limit, between the limits, and at the lower one."""
        already = int(self._found.high_by_image[: self._columns_from].sum())
        return already, self._found.inside, self._found.at_low


def _grouped(pairs: PairSet, ranks: list[int]) -> list[list[int]]:
    """Let small ranks share one band that reaches to the top, so that their pairs are kept; others have their own."""
    if pairs.impostor_pairs <= KEPT:
        return [ranks] if ranks else []
    few = [rank for rank in ranks if rank <= _most_with_pairs()]
    return ([few] if few else []) + [[rank] for rank in ranks if rank > _most_with_pairs()]


def _most_with_pairs() -> int:
    """The rank up to which accepted pairs themselves are kept; a reserve covers the error of the guess."""
    return KEPT * 3 // 2


def _reaches_top(pairs: PairSet, ranks: list[int]) -> bool:
    return pairs.impostor_pairs <= KEPT or ranks[-1] <= _most_with_pairs()


def _first_brackets(pairs: PairSet, groups: list[list[int]]) -> list[Bracket]:
    total = pairs.impostor_pairs
    if not groups or total <= KEPT:
        return [sampled_bracket(-math.inf, math.inf, 0, total, torch.empty(0)) for _ in groups]
    sample, scale = sample_scores(pairs, groups[-1][-1])
    return [Bracket(-math.inf, math.inf, 0, total, sample, scale) for _ in groups]


def sample_scores(pairs: PairSet, largest: int) -> tuple[Tensor, float]:
    """Impostor scores, highest first, of a fixed random sample of rows and columns, and how many each stands for.

    The largest rank decides how many are looked at; sorting them all would take longer than the pass itself.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = []
    for images in (len(pairs.rows), len(pairs.columns)):
        count = min(images, _SAMPLED)
        chosen.append(torch.randperm(images, generator=generator)[:count].to(pairs.rows.device))
    scores = pairs.rows[chosen[0]] @ pairs.columns[chosen[1]].T
    scores = scores[pairs.row_identities[chosen[0]][:, None] != pairs.column_identities[chosen[1]][None, :]]
    scale = pairs.impostor_pairs / max(1, len(scores))
    looked_at = int(2 * largest / scale) + 10_000
    if looked_at < len(scores) // 4:
        return scores.topk(looked_at).values, scale
    return scores.sort(descending=True).values, scale


def _accept_everybody(pairs: PairSet) -> Cut:
    """The cut of a target of 1, without looking at any score."""
    groups = pairs.identity_groups

    def others(counts: Tensor) -> Tensor:
        """Of each identity, how many images of others are in its group."""
        return _group_sums(groups, counts)[groups] - counts

    if pairs.one_set:
        before = _images_before(groups, pairs.row_counts)
        by_row = (others(pairs.row_counts) - before)[pairs.row_identities]
        by_column = before[pairs.row_identities]
    else:
        by_row = others(pairs.column_counts)[pairs.row_identities]
        by_column = others(pairs.row_counts)[pairs.column_identities]
    rows, columns = pairs.left_out.T
    strangers = pairs.row_identities[rows] != pairs.column_identities[columns]
    by_row = by_row - torch.bincount(rows[strangers], minlength=len(by_row))
    by_column = by_column - torch.bincount(columns[strangers], minlength=len(by_column))
    return Cut(-math.inf, pairs.impostor_pairs, torch.cat([by_row, by_column]), None)


def _group_sums(groups: Tensor, counts: Tensor) -> Tensor:
    """Sum what is counted of each identity (I,) over each group."""
    return counts.new_zeros(int(groups.max()) + 1).index_add_(0, groups, counts)


def _images_before(groups: Tensor, counts: Tensor) -> Tensor:
    """Of each identity (I,), how many images of earlier identities are in its group."""
    order = torch.argsort(groups, stable=True)
    ends = counts[order].cumsum(0)
    of_group = _group_sums(groups, counts)
    starts = of_group.cumsum(0) - of_group
    before = torch.empty_like(counts)
    before[order] = ends - counts[order] - starts[groups[order]]
    return before


def fill_bands(pairs: PairSet, bands: list[_Band]) -> None:
    """Look at every impostor pair once, for all bands: a pass."""
    rank, ranks = place()
    for top, left in pairs.block_starts()[rank::ranks]:
        block = pairs.impostor_scores(top, left)
        for band in bands:
            band.add(block, top, left)
    for band in bands:
        band.close()


def _over_all_ranks(found: Found, device: torch.device) -> Found:
    """Put together what the ranks have found, in an order that does not depend on how many there are."""
    mine = PairScores(found.kept.scores.cpu(), found.kept.rows.cpu(), found.kept.columns.cpu())
    everybodys: list[PairScores] = [mine] * distributed.get_world_size()
    distributed.all_gather_object(everybodys, mine)
    sides = [torch.cat([getattr(each, side) for each in everybodys]) for side in ("scores", "rows", "columns")]
    kept = PairScores(*(side.to(device) for side in sides))
    counts = torch.tensor([found.inside, found.at_low], device=device)
    for each in (counts, found.high_by_image):
        sum_over_ranks(each)
    order = torch.argsort(kept.rows.long() * (2**31) + kept.columns)
    return Found(int(counts[0]), int(counts[1]), found.high_by_image, _chosen(kept, order))


def _chosen(pairs: PairScores, which: Tensor | slice) -> PairScores:
    return PairScores(pairs.scores[which], pairs.rows[which], pairs.columns[which])
