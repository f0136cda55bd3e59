"""What identifies a network: its weights, and how images enter it."""

import hashlib

from facexfer.backbones.parts.info import BackboneModule


def network_digest(network: BackboneModule) -> str:
    """Hash what decides a network's embeddings (SHA-256, hex).

    That is all parameters and buffers, in their order, and what they do not tell: the network's name, its input size,
    colour order and normalisation.
    """
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    info = network.info
    digest.update(repr((info.name, info.input_size, info.color_order, info.mean, info.scale)).encode())
    return digest.hexdigest()
