"""Embeddings, labels and captures from any source, checked and brought into one form on one device."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from torch import Tensor

from facexfer.errors import InputError, NonFiniteError
from facexfer.eval.pairwise.labels import read_labels

Vectors = np.ndarray | Tensor
Keys = Sequence[Sequence[Hashable]]


def unit_embeddings(embeddings: Vectors, what: str, device: torch.device) -> Tensor:
    """Scale embeddings to length 1.

    Args:
        embeddings: (N, D), of any length; a tensor may already be on the device.
        what: What to call them in errors.
        device: Where they go before anything is computed.

    Returns:
        (N, D) float32.

    Raises:
        InputError: If they have no such shape, are no real numbers, or one is zero or not finite (`NonFiniteError`).
    """
    tensor = _as_float32(embeddings, what, device)
    lengths = tensor.norm(dim=1)
    bad = ~(torch.isfinite(lengths) & (lengths > 0))
    if bad.any():
        # Squares of very large or small numbers leave float32, the vectors themselves are sound.
        places = bad.nonzero()[:, 0]
        rows = _rows(embeddings, places)
        largest = rows.abs().amax(dim=1, keepdim=True)
        sound = torch.isfinite(largest[:, 0]) & (largest[:, 0] > 0)
        places = places[sound.to(device)]
        tensor = tensor.clone()
        tensor[places] = (rows[sound] / largest[sound]).float().to(device)
        lengths[places] = tensor[places].norm(dim=1)
        bad[places] = False
    if bad.any():
        raise NonFiniteError(
            f"expected finite {what} of positive length, got {int(bad.sum())} with NaN, infinity or only zeros, "
            f"the first in row {int(bad.nonzero()[0])}; leave failed images out and count them as failures"
        )
    units: Tensor = tensor / lengths[:, None]
    return units


def label_codes(labels: np.ndarray, length: int, what: str) -> Tensor:
    """Number the identities in the order of their labels.

    Args:
        labels: (N,) of any kind, equal for one person.
        length: N.
        what: What to call them in errors.

    Returns:
        (N,) int64.

    Raises:
        InputError: As for `facexfer.eval.pairwise.labels.read_labels`.
    """
    array = read_labels(labels, length, what)
    return torch.from_numpy(np.unique(array, return_inverse=True)[1].astype(np.int64))


def pairs_of_one_capture(gallery: Sequence[Hashable], probe: Sequence[Hashable]) -> Tensor:
    """List the pairs (gallery, probe) that show one capture, (E, 2) int64."""
    rows, columns = _number_keys(gallery, probe)
    order = np.argsort(columns, kind="stable")
    in_order = columns[order]
    first, last = (np.searchsorted(in_order, rows, side) for side in ("left", "right"))
    return torch.from_numpy(_spread(np.arange(len(rows)), first, np.where(rows < 0, first, last), order))


def pairs_that_share(rows: Keys, columns: Keys | None = None) -> Tensor:
    """List the pairs of which both sides share what is no evidence, such as one picture.

    Args:
        rows: Lists of a key an image, None where it has none.
        columns: Those of the other side, list by list; None for the unordered pairs within the one set.

    Returns:
        (E, 2) int64, distinct and sorted; those of one set have the earlier image first.
    """
    found = [_pairs_of_one_key(one) for one in rows] if columns is None else [
        pairs_of_one_capture(one, other) for one, other in zip(rows, columns, strict=True)
    ]  # fmt: skip
    width = max((len(each) for each in (rows if columns is None else columns)), default=0)
    return distinct_pairs(torch.cat([torch.empty((0, 2), dtype=torch.int64), *found]), width)


def distinct_pairs(pairs: Tensor, width: int) -> Tensor:
    """Sort pairs of places (E, 2) and drop repeated ones.

    Args:
        pairs: (E, 2) int64 of at least 0.
        width: Larger than every second place.

    Returns:
        (E', 2) int64. As single numbers they sort in a fraction of the time and memory that rows take.
    """
    width = max(width, 1)
    numbers: Tensor = torch.unique(pairs[:, 0] * width + pairs[:, 1])
    return torch.stack([numbers // width, numbers % width], dim=1)


def _pairs_of_one_key(keys: Sequence[Hashable]) -> Tensor:
    """The pairs (i, j), i < j, of one set that share a key."""
    (numbers,) = _number_keys(keys)
    order = np.argsort(numbers, kind="stable")
    in_order = numbers[order]
    first = np.arange(1, len(order) + 1)
    last = np.where(in_order < 0, first, np.searchsorted(in_order, in_order, "right"))
    return torch.from_numpy(_spread(order, first, last, order))


def _number_keys(*sides: Sequence[Hashable]) -> list[np.ndarray]:
    """Number the keys of all sides alike, from 0; -1 is no key."""
    known: dict[Hashable, int] = {None: -1}
    return [np.array([known.setdefault(key, len(known) - 1) for key in side], dtype=np.int64) for side in sides]


def _spread(rows: np.ndarray, first: np.ndarray, last: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Pair each of the rows with those places of the order that lie from its first to in front of its last, (E, 2)."""
    counts = last - first
    ends = counts.cumsum()
    within = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
    return np.stack([np.repeat(rows, counts), order[np.repeat(first, counts) + within]], axis=1)


def groups_of_identities(*sides: tuple[np.ndarray, Tensor]) -> Tensor:
    """Number the group of each identity; images of two groups are not compared.

    Args:
        sides: Of the one set, or of gallery and probes: (N,) numbers of the images' groups, and (N,) of their
            identities.

    Returns:
        The number of each identity's group (I,).

    Raises:
        InputError: If there is not one group per image, or one identity is in two groups.
    """
    for groups, codes in sides:
        if np.shape(groups) != (len(codes),):
            raise InputError(f"expected one group per image, {len(codes)}, got {np.shape(groups)}; give one each")
    groups, codes = np.concatenate([side[0] for side in sides]), torch.cat([side[1] for side in sides])
    numbers = torch.from_numpy(np.unique(groups, return_inverse=True)[1].astype(np.int64))
    of_identity = torch.zeros(int(codes.max()) + 1, dtype=torch.int64)
    of_identity[codes] = numbers
    if not torch.equal(of_identity[codes], numbers):
        raise InputError("expected each identity in one group, got one in two; keep a person's images together")
    return of_identity


def _as_float32(embeddings: Vectors, what: str, device: torch.device) -> Tensor:
    given = embeddings if isinstance(embeddings, Tensor) else np.asarray(embeddings)
    if given.ndim != 2 or 0 in given.shape:
        raise InputError(f"expected {what} of shape (N, D), got {tuple(given.shape)}; give one row per image")
    is_real = not given.is_complex() if isinstance(given, Tensor) else given.dtype.kind in "fiub"
    if not is_real:
        raise InputError(f"expected {what} of real numbers, got {given.dtype}; save the vectors themselves")
    if isinstance(given, Tensor):
        return given.detach().to(device, torch.float32)
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.ascontiguousarray(given, dtype=np.float32)).to(device)


def _rows(embeddings: Vectors, places: Tensor) -> Tensor:
    """Some rows as float64 on the places' device."""
    if isinstance(embeddings, Tensor):
        return embeddings.detach()[places.to(embeddings.device)].to(places.device, torch.float64)
    return torch.from_numpy(np.asarray(embeddings)[places.cpu().numpy()].astype(np.float64)).to(places.device)
