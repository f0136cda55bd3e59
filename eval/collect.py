"""What more than operating points needs of a pair set: its curve, its worst pairs, and scores with their identities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facexfer.eval.curves import Curve, curve_of_counts, curve_of_scores
from facexfer.eval.paired import LabelledScores
from facexfer.eval.pairwise.cuts import Cut, find_cuts
from facexfer.eval.pairwise.pairs import PairScores, PairSet
from facexfer.eval.verification import accepted_impostors

_SINGLE = 4_000_000
_BINS = 2**16
_EDGE = 1 + 2**-10
_TAIL = 500_000


@dataclass(frozen=True)
class WorstPair:
    """A pair that a verifier gets wrong first.

    Attributes:
        score: Its cosine.
        row: The image's place in what was given: the one set, or the gallery.
        column: The other image's place: in the one set, or in the probes.
    """

    score: float
    row: int
    column: int


def curve_of_pairs(pairs: PairSet) -> Curve:
    """Make the curve over all thresholds.

    Args:
        pairs: What is compared.

    Returns:
        Exact at every score of up to 4 million pairs; of more, exact at the edges of 65,536 bins.
    """
    if pairs.genuine_pairs + pairs.impostor_pairs <= _SINGLE:
        genuine = torch.cat([part.scores for part in _genuine(pairs)])
        impostor = torch.cat(
            [block[block > -torch.inf] for start in pairs.block_starts() for block in [pairs.impostor_scores(*start)]]
        )
        return curve_of_scores(genuine.cpu().numpy(), impostor.cpu().numpy())
    genuine_counts = sum(
        (_bin_counts(part.scores) for part in _genuine(pairs)), torch.zeros(_BINS + 1, dtype=torch.int64)
    )
    impostor_counts = torch.zeros(_BINS + 1, dtype=torch.int64)
    for start in pairs.block_starts():
        impostor_counts += _bin_counts(pairs.impostor_scores(*start))
    edges = np.linspace(-_EDGE, _EDGE, _BINS + 1)
    # The first bin collects the places of pairs that do not count.
    return curve_of_counts(edges, genuine_counts[1:].numpy(), impostor_counts[1:].numpy())


def worst_pairs(pairs: PairSet, count: int) -> tuple[list[WorstPair], list[WorstPair]]:
    """Find the impostor pairs most alike and the genuine pairs least alike.

    Args:
        pairs: What is compared.
        count: How many of each, at most.

    Returns:
        (impostor pairs, the most alike first; genuine pairs, the least alike first).
    """
    # Many more than asked for, so that ties at the end of the list do not shorten it.
    (cut,) = find_cuts(pairs, [min(10 * count + 1000, pairs.impostor_pairs)])
    assert cut.above is not None
    lowest: PairScores | None = None
    for part in _genuine(pairs):
        if lowest is not None:
            part = PairScores(
                *(torch.cat([getattr(lowest, n), getattr(part, n)]) for n in ("scores", "rows", "columns"))
            )
        keep = torch.argsort(part.scores, stable=True)[:count]
        lowest = PairScores(part.scores[keep], part.rows[keep], part.columns[keep])
    assert lowest is not None
    return _in_given_places(pairs, cut.above)[:count], _in_given_places(pairs, lowest)


def labelled_scores(pairs: PairSet, fars: Sequence[float]) -> LabelledScores:
    """Collect the scores that a paired comparison at these targets needs.

    Args:
        pairs: What is compared.
        fars: The targets as fractions.

    Returns:
        All genuine scores, and four times the impostor scores that the largest target lets pass: the 500,000 highest,
        and of those below, where they are more, about as many that stand for the others.
    """
    genuine = list(_genuine(pairs))
    allowed = [accepted_impostors(pairs.impostor_pairs, far) for far in fars]
    reach = min(4 * max(allowed) + 100, pairs.impostor_pairs)
    ranks = [*(rank for rank in allowed if rank), min(reach, _TAIL), reach]
    cuts = dict(zip(ranks, find_cuts(pairs, ranks), strict=True))
    top = cuts[min(reach, _TAIL)]
    assert top.above is not None
    parts = [top.above]
    weights = [np.ones(top.accepted)]
    if top.accepted < cuts[reach].accepted:
        parts.append(_thinned_tail(pairs, cuts[reach], top))
        rest = len(parts[1].scores)
        weights.append(np.full(rest, (cuts[reach].accepted - top.accepted) / max(1, rest)))
    two = [
        torch.stack([pairs.row_identities[part.rows.long()], pairs.column_identities[part.columns.long()]], dim=1)
        for part in parts
    ]
    counts = torch.stack([pairs.row_counts, pairs.column_counts], dim=1).cpu().numpy().astype(np.float64)
    if pairs.one_set:
        counts[:, 1] /= 2
    scores = torch.cat([part.scores for part in genuine]).cpu().numpy()
    return LabelledScores(
        genuine=scores,
        genuine_identities=pairs.row_identities[torch.cat([part.rows for part in genuine])].cpu().numpy(),
        tail=torch.cat([part.scores for part in parts]).cpu().numpy(),
        tail_identities=torch.cat(two).cpu().numpy(),
        tail_weights=np.concatenate(weights),
        impostor_counts=counts,
        tar=tuple(float((scores > cuts[rank].threshold).mean()) if rank else None for rank in allowed),
        groups=None if pairs.groups is None else pairs.groups.numpy(),
    )


def _genuine(pairs: PairSet) -> Iterator[PairScores]:
    """Yield the genuine pairs block by block, in the order of their rows."""
    return (pairs.genuine_pairs_of(*block) for block in pairs.genuine_blocks())


def _thinned_tail(pairs: PairSet, bottom: Cut, top: Cut) -> PairScores:
    """Choose about half a million pairs between two thresholds by their places, the same for every network."""
    stride = max(1, (bottom.accepted - top.accepted) // _TAIL)
    chosen = []
    for first_row, first_column in pairs.block_starts():
        block = pairs.impostor_scores(first_row, first_column)
        places = ((block > max(bottom.threshold, -2.0)) & (block <= top.threshold)).nonzero()
        rows, columns = places[:, 0] + first_row, places[:, 1] + first_column
        some = (rows * 7919 + columns * 104_729) % stride == 0
        places, rows, columns = places[some], rows[some], columns[some]
        chosen.append(PairScores(block[places[:, 0], places[:, 1]], rows, columns))
    scores = torch.cat([part.scores for part in chosen])
    order = torch.argsort(scores, descending=True, stable=True)
    rows, columns = (torch.cat([getattr(part, side) for part in chosen])[order] for side in ("rows", "columns"))
    return PairScores(scores[order], rows, columns)


def _bin_counts(scores: Tensor) -> Tensor:
    """Count scores in bins (edge, next edge]; what lies below the first edge comes first."""
    places = torch.ceil((scores.double() + _EDGE) * (_BINS / (2 * _EDGE))).clamp_(0, _BINS).long()
    return torch.bincount(places.flatten(), minlength=_BINS + 1).cpu()


def _in_given_places(pairs: PairSet, found: PairScores) -> list[WorstPair]:
    rows = pairs.row_order[found.rows.long()].tolist()
    columns = pairs.column_order[found.columns.long()].tolist()
    return [WorstPair(*each) for each in zip(found.scores.tolist(), rows, columns, strict=True)]
