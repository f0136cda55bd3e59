"""Put named arrays into a network, all of them or none."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from facexfer.errors import InputError

_COUNTER = "num_batches_tracked"


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
        InputError: If an entry is missing, unexpected, misshapen or not finite; all of them are named.
    """
    state = network.state_dict()
    names = theirs or {key: key for key in state if not key.endswith(_COUNTER)}
    missing = [name for name in names.values() if name not in entries]
    unexpected = sorted(name for name in entries.keys() - set(names.values()) if not name.endswith(_COUNTER))
    present = {key: entries[name] for key, name in names.items() if name in entries}
    misshapen = [
        f"{names[key]} {tuple(entry.shape)} instead of {tuple(state[key].shape)}"
        for key, entry in present.items()
        if entry.shape != state[key].shape
    ]
    not_finite = [names[key] for key, entry in present.items() if not torch.isfinite(entry).all()]
    found = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen, "not finite": not_finite}
    problems = [f"{kind}: {', '.join(names)}" for kind, names in found.items() if names]
    if problems:
        raise InputError(
            f"{origin}: expected the entries of this network; {'; '.join(problems)}; is it another network?"
        )
    with torch.no_grad():
        for key, entry in present.items():
            state[key].copy_(entry)
