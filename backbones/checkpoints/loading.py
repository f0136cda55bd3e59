"""Put named arrays into a network, all of them or none."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from facexfer.errors import InputError, first_of

_NAMED = 4
"""How many entries of a kind an error names."""

COUNTER = "num_batches_tracked"
"""How the name of BatchNorm's counter of batches ends, which no network needs."""


def load_entries(
    network: nn.Module, entries: Mapping[str, Tensor], origin: str, theirs: Mapping[str, str] | None = None
) -> None:
    """Fill a network's parameters and statistics.

    Args:
        network: What is filled; nothing in it changes if anything does not fit.
        entries: Tensors by name, of any floating type.
        origin: What to call them in errors, e.g. the file.
        theirs: Our state-dict key -> their name; None if the names are ours.

    Raises:
        InputError: If an entry is missing, unexpected, misshapen, no floating-point number or not finite; the first of
            each kind are named.
    """
    state = network.state_dict()
    names = theirs or {key: key for key in state if not key.endswith(COUNTER)}
    missing = [name for name in names.values() if name not in entries]
    unexpected = sorted(name for name in entries.keys() - set(names.values()) if not name.endswith(COUNTER))
    present = {key: entries[name] for key, name in names.items() if name in entries}
    misshapen = [
        f"{names[key]} {tuple(entry.shape)} instead of {tuple(state[key].shape)}"
        for key, entry in present.items()
        if entry.shape != state[key].shape
    ]
    # Whole numbers are quantised weights, which mean something else without their scales.
    other_type = [
        f"{names[key]} ({str(entry.dtype).removeprefix('torch.')})"
        for key, entry in present.items()
        if not _is_plain(entry)
    ]
    not_finite = [
        names[key] for key, entry in present.items() if _is_plain(entry) and not torch.isfinite(entry.float()).all()
    ]
    found = {
        "missing": missing, "unexpected": unexpected, "misshapen": misshapen, "not floating point": other_type,
        "not finite": not_finite,
    }  # fmt: skip
    problems = [f"{kind}: {first_of(names, _NAMED)}" for kind, names in found.items() if names]
    if problems:
        raise InputError(
            f"{origin}: expected the entries of this network; {'; '.join(problems)}; is it another network? facexfer "
            "inspect tells"
        )
    with torch.no_grad():
        for key, entry in present.items():
            state[key].copy_(entry)


def _is_plain(entry: Tensor) -> bool:
    return entry.is_floating_point() and entry.layout == torch.strided and entry.device.type != "meta"
