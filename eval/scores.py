"""TAR at FAR over all pairs of embeddings: exact at any size, with intervals, and never holding the score matrix."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from facexfer.eval.intervals import identity_interval, residual_squares, threshold_noise
from facexfer.eval.pairwise.cuts import Cut, find_cuts
from facexfer.eval.pairwise.inputs import Vectors
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.pairwise.ranks import place, sum_over_ranks
from facexfer.eval.verification import OperatingPoint, accepted_impostors, check_fars, make_point


def all_pairs(
    embeddings: Vectors, labels: np.ndarray, fars: Sequence[float], device: str = "cpu"
) -> tuple[OperatingPoint, ...]:
    """Measure TAR at FAR over every unordered pair of one set.

    Where torch.distributed is running, the ranks share the work, and each gets the same result, bit for bit.

    Args:
        embeddings: (N, D), of any length; an array, or a tensor that may already be on the device.
        labels: (N,), equal for one person.
        fars: The targets, as fractions.
        device: Where the products are made. Scores of two devices differ in their last bits, so that a pair whose
            score is the threshold's to about 1e-7 may be accepted on one and not on the other; where products are
            exact, all counts are equal.

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
    return operating_points(PairSet.within(embeddings, labels, device), fars)


def gallery_probe_pairs(
    gallery: Vectors,
    gallery_labels: np.ndarray,
    probe: Vectors,
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
    pairs = PairSet.against(gallery, gallery_labels, probe, probe_labels, gallery_captures, probe_captures, device)
    return operating_points(pairs, fars)


def operating_points(pairs: PairSet, fars: Sequence[float]) -> tuple[OperatingPoint, ...]:
    """Measure TAR at FAR over a pair set.

    Args:
        pairs: What is compared.
        fars: The targets, as fractions.

    Returns:
        One point a target, with intervals by identity.

    Raises:
        InputError: If a target is out of range.
    """
    check_fars(fars)
    allowed = {far: accepted_impostors(pairs.impostor_pairs, far) for far in fars}
    ranks = sorted({rank for rank in allowed.values() if rank > 0})
    cuts = dict(zip(ranks, find_cuts(pairs, ranks), strict=True)) if ranks else {}
    thresholds = [cuts[rank].threshold for rank in ranks]
    # The threshold of half as many false accepts tells how TAR moves with the threshold.
    stricter = [_stricter(cuts[rank]) for rank in ranks]
    counts = genuine_above(pairs, thresholds + stricter)
    accepted = dict(zip(ranks, zip(counts[: len(ranks)], counts[len(ranks) :], strict=True), strict=True))
    return tuple(
        _point(pairs, far, cuts[allowed[far]], *accepted[allowed[far]])
        if allowed[far]
        else make_point(far, None, (0, pairs.genuine_pairs), (0, pairs.impostor_pairs))
        for far in fars
    )


def points_at_thresholds(pairs: PairSet, thresholds: Sequence[float]) -> tuple[OperatingPoint, ...]:
    """Measure TAR and FAR at thresholds that were chosen elsewhere.

    Args:
        pairs: What is compared.
        thresholds: A pair is accepted if its score is strictly above.

    Returns:
        One point a threshold; its ``far`` is the achieved one.
    """
    accepted = genuine_above(pairs, list(thresholds))
    return tuple(
        _point(pairs, None, cut, hits) for cut, hits in zip(_cuts_at(pairs, thresholds), accepted, strict=True)
    )


def genuine_above(pairs: PairSet, thresholds: list[float]) -> list[Tensor]:
    """Count each identity's genuine pairs strictly above each threshold.

    Args:
        pairs: What is compared.
        thresholds: Any.

    Returns:
        (identities,) counts for each threshold; where torch.distributed is running, over all ranks.
    """
    rank, ranks = place()
    device = pairs.rows.device
    by_row = torch.zeros((len(thresholds), len(pairs.rows)), dtype=torch.int64, device=device)
    for top, bottom in pairs.genuine_blocks()[rank::ranks]:
        scores, _ = pairs.genuine_scores(top, bottom)
        for counts, threshold in zip(by_row, thresholds, strict=True):
            counts[top:bottom] = (scores > threshold).sum(dim=1)
    by_identity = by_row.new_zeros((len(thresholds), pairs.identities)).index_add_(1, pairs.row_identities, by_row)
    sum_over_ranks(by_identity)
    return list(by_identity)


def _stricter(cut: Cut) -> float:
    """The threshold that accepts half of a cut's pairs; its own where it has none or does not hold them."""
    if cut.above is None or not cut.accepted:
        return cut.threshold
    return float(cut.above.scores[cut.accepted // 2])


def _point(
    pairs: PairSet, far: float | None, cut: Cut, accepted: Tensor, accepted_stricter: Tensor | None = None
) -> OperatingPoint:
    """Put an operating point together, with its intervals: of a target, or (without the stricter) of a threshold."""
    hits = accepted.cpu().numpy().astype(np.float64)
    trials = pairs.genuine_by_identity.cpu().numpy().astype(np.float64)
    false_pairs, squares = pairs.identity_counts()
    false_hits = _by_identity(pairs, cut.by_image)
    noise = 0.0
    share = cut.accepted / pairs.impostor_pairs
    if cut.above is not None:
        noise = residual_squares(*_by_two_identities(pairs, cut), share, squares)
    point = make_point(
        share if far is None else far,
        cut.threshold,
        (int(hits.sum()), pairs.genuine_pairs),
        (cut.accepted, pairs.impostor_pairs),
    )
    noise_of_threshold = None
    if accepted_stricter is not None and cut.accepted:
        # The (k+1)-th highest score is that of a false accept rate of about (k + 1/2) / N.
        steps = math.log((cut.accepted + 0.5) / (cut.accepted // 2 + 0.5))
        slope = (hits.sum() - float(accepted_stricter.sum())) / pairs.genuine_pairs / steps
        noise_of_threshold = threshold_noise(
            false_hits, false_pairs, noise, (cut.accepted, pairs.impostor_pairs), slope
        )
    return replace(
        point,
        identities=int((trials > 0).sum()),
        tar_ci95=identity_interval(hits, trials, threshold=noise_of_threshold),
        far_ci95=identity_interval(false_hits, false_pairs, noise, (cut.accepted, pairs.impostor_pairs)),
    )


def _by_identity(pairs: PairSet, by_image: Tensor) -> np.ndarray:
    """Add up counts of the row images and the column images."""
    counts = by_image.new_zeros(pairs.identities)
    counts.index_add_(0, pairs.row_identities, by_image[: len(pairs.rows)])
    counts.index_add_(0, pairs.column_identities, by_image[len(pairs.rows) :])
    return counts.cpu().numpy().astype(np.float64)


def _by_two_identities(pairs: PairSet, cut: Cut) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count accepted and all impostor pairs between two identities that have an accepted one, and how often it is so.

    Of millions of such couples few differ in their counts, and few numbers leave the device.
    """
    assert cut.above is not None
    one = pairs.row_identities[cut.above.rows.long()]
    other = pairs.column_identities[cut.above.columns.long()]
    two = torch.minimum(one, other) * pairs.identities + torch.maximum(one, other)
    two, accepted = torch.unique(two, return_counts=True)
    first, second = two // pairs.identities, two % pairs.identities
    rows, columns = pairs.row_counts, pairs.column_counts
    everything = rows[first] * columns[second]
    if not pairs.one_set:
        everything = everything + rows[second] * columns[first]
    base = int(everything.max()) + 1 if len(everything) else 1
    kinds, times = torch.unique(accepted * base + everything, return_counts=True)
    counts = (each.cpu().numpy().astype(np.float64) for each in (kinds // base, kinds % base, times))
    accepted_of_kind, everything_of_kind, couples = counts
    return accepted_of_kind, everything_of_kind, couples


def _cuts_at(pairs: PairSet, thresholds: Sequence[float]) -> list[Cut]:
    rank, ranks = place()
    size = len(pairs.rows)
    by_image = torch.zeros((len(thresholds), size + len(pairs.columns)), dtype=torch.int64, device=pairs.rows.device)
    for top, left in pairs.block_starts()[rank::ranks]:
        block = pairs.impostor_scores(top, left)
        height, width = block.shape
        for counts, threshold in zip(by_image, thresholds, strict=True):
            # Minus infinity marks pairs that do not count.
            above = block > max(threshold, -2.0)
            counts[top : top + height] += above.sum(dim=1)
            counts[size + left : size + left + width] += above.sum(dim=0)
    sum_over_ranks(by_image)
    return [
        Cut(threshold, int(counts[:size].sum()), counts, None)
        for threshold, counts in zip(thresholds, by_image, strict=True)
    ]
