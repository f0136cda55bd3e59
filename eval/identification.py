"""Identification: who is it? Closed-set ranks (CMC) and open-set detection and identification (ISO/IEC 19795-1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from facexfer.errors import InputError
from facexfer.eval.intervals import identity_interval
from facexfer.eval.pairwise.labels import join_labels, read_captures, read_labels
from facexfer.eval.unit_length import unit_length
from facexfer.eval.verification import OperatingPoint, points_of

_CHUNK = 4096


@dataclass(frozen=True)
class Enrolment:
    """Who is enrolled with which images, and which images are looked up.

    Attributes:
        gallery: Positions of the enrolled images.
        probes: Positions of the others, none of a capture that is enrolled.
    """

    gallery: np.ndarray
    probes: np.ndarray


@dataclass(frozen=True)
class Identification:
    """What a search in the gallery finds; rates are fractions of the probes whose person is enrolled.

    Attributes:
        rank1: How often the most alike entry is the right person.
        rank1_ci95: 95 % interval by a bootstrap over identities.
        cmc: (R,) how often the right person is among the first 1, 2, ... entries.
        enrolled: Entries in the gallery.
        mated_probes: Probes whose person is enrolled.
        open_set: DIR at FAR: of each target, the share of mated probes whose most alike entry is right and above the
            threshold at which that share of the others (`tar_at_far` over their highest scores) raises an alarm. Empty
            where everybody is enrolled.
    """

    rank1: float
    rank1_ci95: tuple[float, float]
    cmc: np.ndarray
    enrolled: int
    mated_probes: int
    open_set: tuple[OperatingPoint, ...]


def enrol(labels: np.ndarray, captures: np.ndarray, share: float | None = None) -> Enrolment:
    """Enrol each identity's first capture, or the first share of its captures; the rest are probes.

    An image without a capture counts as its own capture.

    Args:
        labels: (N,) identities.
        captures: (N,) of str or None, equal for images of one shot.
        share: Enrol this part of an identity's captures, at least one and not all of several; None enrols one.

    Returns:
        The enrolment. An identity with one capture is enrolled and has no probe.

    Example:
        >>> chosen = enrol(np.array([0, 0, 0, 1]), np.array(["a", "b", "a", None]))
        >>> chosen.gallery.tolist(), chosen.probes.tolist()
        ([0, 2, 3], [1])
    """
    shots: dict[object, dict[object, list[int]]] = {}
    people, takes = read_labels(labels, len(labels)).tolist(), read_captures(captures, len(labels))
    for position, (label, capture) in enumerate(zip(people, takes, strict=True)):
        own: object = ("no capture", position) if capture is None else capture
        shots.setdefault(label, {}).setdefault(own, []).append(position)
    gallery: list[int] = []
    probes: list[int] = []
    for of_person in shots.values():
        groups = list(of_person.values())
        count = 1 if share is None else max(1, min(round(share * len(groups)), len(groups) - 1))
        gallery += [position for group in groups[:count] for position in group]
        probes += [position for group in groups[count:] for position in group]
    return Enrolment(np.sort(np.array(gallery, dtype=np.int64)), np.sort(np.array(probes, dtype=np.int64)))


def make_templates(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average each identity's unit embeddings.

    Args:
        embeddings: (N, D).
        labels: (N,).

    Returns:
        (I, D) unit templates and their identities (I,), sorted.

    Raises:
        InputError: If an embedding is zero or not finite, or an identity's embeddings cancel out.
    """
    names, codes = np.unique(read_labels(labels, len(embeddings)), return_inverse=True)
    sums = np.zeros((len(names), np.asarray(embeddings).shape[1]), dtype=np.float64)
    np.add.at(sums, codes, unit_length(np.asarray(embeddings)))
    return unit_length(sums).astype(np.float32), names


def identify(
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    probes: np.ndarray,
    probe_labels: np.ndarray,
    fars: Sequence[float],
    ranks: int = 50,
) -> Identification:
    """Look every probe up in a gallery of one entry per identity.

    A tie counts against the system: an impostor entry as alike as the right one ranks before it.

    Args:
        gallery: (G, D) one embedding or template per identity.
        gallery_labels: (G,) all different.
        probes: (Q, D); those whose identity has no entry are the open set's impostors.
        probe_labels: (Q,).
        fars: Targets of the share of impostor probes that raise an alarm; those that few probes cannot support are
            said to be so.
        ranks: How far the CMC goes.

    Returns:
        The metrics.

    Raises:
        InputError: If an identity has several entries, or no probe's identity has one.

    Example:
        >>> found = identify(np.eye(2), np.array([0, 1]), np.array([[1, 0.2], [0.9, 0.8]]), np.array([0, 1]), [0.1])
        >>> found.rank1, found.cmc.tolist()
        (0.5, [0.5, 1.0])
    """
    gallery_labels, probe_labels = join_labels(
        (gallery_labels, len(gallery), "gallery labels"), (probe_labels, len(probes), "probe labels")
    )
    if len(np.unique(gallery_labels)) != len(gallery_labels):
        raise InputError("expected one gallery entry per identity, got several; average them into templates first")
    entries, looked_up = (unit_length(np.asarray(each)).astype(np.float32) for each in (gallery, probes))
    order = np.argsort(gallery_labels)
    entries, names = entries[order], gallery_labels[order]
    place = np.minimum(np.searchsorted(names, probe_labels), len(names) - 1)
    mated = names[place] == probe_labels
    if not mated.any():
        raise InputError("expected probes of enrolled people, got none; do gallery and probes share identities?")
    rank, best = np.empty(len(looked_up), dtype=np.int64), np.empty(len(looked_up), dtype=np.float32)
    for start in range(0, len(looked_up), _CHUNK):
        rows = slice(start, start + _CHUNK)
        scores = looked_up[rows] @ entries.T
        own = np.take_along_axis(scores, place[rows, None], axis=1)
        rank[rows] = (scores >= own).sum(axis=1)
        best[rows] = scores.max(axis=1)
    _, people = np.unique(probe_labels[mated], return_inverse=True)
    first = rank[mated] == 1
    cmc = np.cumsum(np.bincount(np.minimum(rank[mated], len(names)), minlength=len(names) + 1)[1:]) / mated.sum()
    # A wrong first entry is never a right answer, whatever the threshold; that of a target of 1 is minus infinity.
    right = np.where(first, best[mated], -np.inf)
    return Identification(
        rank1=float(first.mean()),
        rank1_ci95=identity_interval(np.bincount(people, weights=first), np.bincount(people)),
        cmc=cmc[:ranks],
        enrolled=len(names),
        mated_probes=int(mated.sum()),
        open_set=() if mated.all() else _open_set(right, people, best[~mated], probe_labels[~mated], fars),
    )


def _open_set(
    right: np.ndarray, people: np.ndarray, strangers: np.ndarray, their_labels: np.ndarray, fars: Sequence[float]
) -> tuple[OperatingPoint, ...]:
    """Find the open set's points, with intervals by identity: a person's probes are not independent."""
    _, others = np.unique(their_labels, return_inverse=True)
    points = []
    for point in points_of(right, strangers, fars):
        if point.threshold is None:
            points.append(point)
            continue
        hits, alarms = (
            np.bincount(who, weights=scores > point.threshold) for who, scores in ((people, right), (others, strangers))
        )
        points.append(
            replace(
                point,
                identities=int(people.max()) + 1,
                tar_ci95=identity_interval(hits, np.bincount(people)),
                far_ci95=identity_interval(alarms, np.bincount(others)),
            )
        )
    return tuple(points)
