"""What identifies a network's weights."""

import hashlib

from torch import nn


def weights_digest(network: nn.Module) -> str:
    """Hash all parameters and buffers of a network, in their order (SHA-256, hex)."""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
