"""BatchNorm statistics measured again."""

from pathlib import Path

import torch
from small_faces import write_small_set

from facexfer import create_backbone
from facexfer.data.augmentation import training_transform
from facexfer.data.crops import CropDataset
from facexfer.data.manifest import read_manifest
from facexfer.networks.batchnorm import recalibrate_batchnorm
from facexfer.networks.embedding import embed_dataset


def test_recalibration_gives_the_statistics_of_the_images_and_keeps_the_weights(tmp_path: Path) -> None:
    manifest = read_manifest(write_small_set(tmp_path)).select(modality="nir")
    images = CropDataset(manifest.images, list(manifest.labels()), (112, 112), training_transform("none", 0))
    network = create_backbone("mobilefacenet").eval()
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    recalibrate_batchnorm(network, images)
    assert not network.training
    assert all(torch.equal(before[name], parameter) for name, parameter in network.named_parameters())
    assert {module.momentum for module in network.modules() if hasattr(module, "momentum")} == {0.1}
    # The last layer now gives embeddings of mean 0 and variance 1 over just these images, but for the difference
    # between the biased variance that training normalises with and the unbiased one that is kept.
    embeddings = embed_dataset(network, images)
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(128), atol=0.05, rtol=0)
    torch.testing.assert_close(embeddings.var(dim=0), torch.ones(128), atol=0.1, rtol=0)
