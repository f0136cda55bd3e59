"""BatchNorm statistics measured again, and embeddings."""

import copy
from pathlib import Path

import pytest
import torch
from small_faces import write_small_set
from torch import Tensor, nn

from facexfer import create_backbone
from facexfer.data.augmentation import training_transform
from facexfer.data.crops import CropDataset
from facexfer.data.manifest import read_manifest
from facexfer.errors import InputError
from facexfer.networks.batchnorm import recalibrate_batchnorm
from facexfer.networks.embedding import embed_dataset
from facexfer.recipe import SourceSection


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


class Rows:
    def __init__(self, images: Tensor) -> None:
        self.images, self.labels = images, [0] * len(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], 0

    def set_epoch(self, epoch: int) -> None:
        pass


def coloured(count: int, grey: bool) -> Rows:
    """Noise with a contrast in colour, or the same in grey."""
    generator = torch.Generator().manual_seed(int(grey))
    images = torch.randint(0, 256, (count, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return Rows(images[:, :1].expand(-1, 3, -1, -1) if grey else images)


def test_a_channel_that_sees_colours_alone_is_not_blown_up() -> None:
    """The second channel is red minus green: silent on grey images."""
    filters = nn.Conv2d(3, 2, 1, bias=False)
    filters.weight.data = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 1e-2]])[:, :, None, None] / 3
    network = create_backbone(
        nn.Sequential(filters, nn.BatchNorm2d(2), nn.Flatten()), input_size=(16, 16), mean=127.5, scale=1 / 127.5
    ).eval()
    (layer,) = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    colours, greys = coloured(64, grey=False), coloured(64, grey=True)
    recalibrate_batchnorm(network, colours)
    # What was never measured has no old variance to keep.
    assert torch.equal(layer.weight, torch.ones(2))
    fitting, old = embed_dataset(network, colours).abs().max(), layer.running_var.clone()
    blown_up = copy.deepcopy(network)
    recalibrate_batchnorm(blown_up, greys, variance_floor=0)
    assert embed_dataset(blown_up, colours).abs().max() > 20 * fitting
    recalibrate_batchnorm(network, greys)
    assert SourceSection(backbone="mbf").variance_floor == 0.1
    assert embed_dataset(network, colours).abs().max() < 4 * fitting
    assert layer.weight[0] == 1
    expected = (layer.running_var[1] + layer.eps) / (0.1 * old[1] + layer.eps)
    torch.testing.assert_close(layer.weight[1], expected.sqrt())
    # In training, too, where the layer divides by the batch's own variance.
    images = (greys.images.float() - 127.5) / 127.5
    quiet = network.train()(images).unflatten(1, (2, -1))[:, 1]
    assert quiet.std() < 0.1
    assert blown_up.train()(images).unflatten(1, (2, -1))[:, 1].std() > 0.2


def one_layer() -> nn.Module:
    """A network of BatchNorm over single values, which one image alone gives no variance."""
    plain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3))
    return create_backbone(plain, input_size=(16, 16), mean=127.5, scale=1 / 127.5).eval()


@pytest.mark.parametrize("count", [129, 130, 25_601])
def test_the_last_images_weigh_no_more_than_others(count: int) -> None:
    """However many images are left over, a batch of one or two of them would count for as much as 128."""
    images = coloured(count, grey=False).images[:, :, :2, :2]
    images[-2:] = 255
    network = one_layer()
    recalibrate_batchnorm(network, Rows(images))
    (layer,) = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    means = ((images.float() - 127.5) / 127.5).mean(dim=(2, 3))
    torch.testing.assert_close(layer.running_mean, means.mean(dim=0), atol=0.01, rtol=0)
    torch.testing.assert_close(layer.running_var, means.var(dim=0), atol=0.01, rtol=0)


def test_images_in_the_order_of_their_people_count_how_people_differ() -> None:
    """Of 32 people with 16 images each, a batch in the order of a manifest would show two."""
    people = (torch.arange(32) * 8).repeat_interleave(16)[:, None, None, None]
    images = (people + torch.zeros(1, 3, 2, 2)).to(torch.uint8)
    network = one_layer()
    recalibrate_batchnorm(network, Rows(images), batch_size=32)
    (layer,) = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    whole = ((images.float() - 127.5) / 127.5).mean(dim=(2, 3)).var(dim=0)
    torch.testing.assert_close(layer.running_var, whole, atol=0, rtol=0.1)


def test_one_image_has_no_statistics() -> None:
    with pytest.raises(InputError, match="expected at least 2 images to measure BatchNorm statistics on, got 1; add"):
        recalibrate_batchnorm(one_layer(), coloured(1, grey=True))


def test_embedding_leaves_later_draws_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    network, images = one_layer(), coloured(4, grey=True)
    torch.manual_seed(0)
    embed_dataset(network, images)
    assert torch.equal(torch.rand(1), expected)
