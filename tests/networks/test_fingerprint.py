"""A network's fingerprint tells networks apart that give different embeddings."""

from dataclasses import replace

import torch

from facexfer.backbones import create_backbone
from facexfer.networks.fingerprint import network_digest


def test_weights_and_how_images_enter_both_count() -> None:
    network = create_backbone("mobilefacenet_slim")
    first, info = network_digest(network), network.info
    others = [
        replace(info, mean=(0.0, 0.0, 0.0)),
        replace(info, scale=(1.0, 1.0, 1.0)),
        replace(info, color_order="BGR"),
        replace(info, input_size=(128, 128)),
        replace(info, name="mobilefacenet_slim_relu"),
    ]
    digests = set()
    for other in others:
        network.info = other
        digests.add(network_digest(network))
    assert len(digests | {first}) == 6
    network.info = replace(info, licence="unknown", source="elsewhere")
    assert network_digest(network) == first
    with torch.no_grad():
        next(network.parameters()).add_(1)
    assert network_digest(network) != first
