"""`facexfer.embed` and `facexfer.load`: arrays, folders, manifests and photos give the same embeddings."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from photo_files import write_photos
from shared_data import shared
from small_faces import write_small_set
from torch import nn

import facexfer
from facexfer.backbones.parts.info import BackboneModule
from facexfer.data.images import read_crop
from facexfer.data.manifest import read_manifest
from facexfer.errors import InputError


@pytest.fixture(scope="module")
def network() -> BackboneModule:
    torch.manual_seed(0)
    return facexfer.create_backbone("mobilefacenet_slim")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"), train=2, val=1, images=2, modalities=("nir",))


def test_array_folder_and_manifest_give_the_same(network: BackboneModule, manifest: Path) -> None:
    images = read_manifest(manifest)
    crops = np.stack([read_crop(image.path) for image in images.images])
    expected = facexfer.embed(network, crops)
    assert expected.shape == (6, network.info.embedding_size)
    for place in (manifest, str(manifest), manifest.parent, images, str(manifest.parent / "nir")):
        side = facexfer.embed(network, place)
        assert np.abs(side.embeddings - expected).max() < 1e-5
        assert side.labels.tolist() == ["p0", "p0", "p1", "p1", "p2", "p2"]
    flipped = facexfer.embed(network, np.ascontiguousarray(crops[:, :, ::-1]))
    assert np.abs(facexfer.embed(network, crops, flip=True) - expected - flipped).max() < 1e-5


def test_an_array_may_lie_in_memory_in_any_way(network: BackboneModule) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    for view in (crops[..., ::-1], crops[::-1], crops.transpose(0, 2, 1, 3)):
        expected = facexfer.embed(network, np.ascontiguousarray(view))
        assert np.array_equal(facexfer.embed(network, view), expected)


def test_the_network_stays_as_it_was(network: BackboneModule, manifest: Path) -> None:
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    facexfer.embed(network, manifest)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    loaded: Any = facexfer.load(network)
    assert loaded.network is not network
    assert facexfer.load(loaded) is loaded


def test_what_is_no_model_or_no_crop_is_refused(network: BackboneModule, manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="that says how its images are normalised, got a bare Linear"):
        facexfer.load(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="only with a file of weights, got 'mbf'"):
        facexfer.load(network, "mbf")
    for stated in ("recipe.toml", "model.json"):
        folder = tmp_path / stated.split(".")[0]
        folder.mkdir()
        (folder / stated).touch()
        with pytest.raises(InputError, match=f"got 'mbf' with {folder}, which states its own; leave it out"):
            facexfer.load(folder, "mbf")
    with pytest.raises(InputError, match=r"got \(1, 112, 112, 3\) float64; align them first"):
        facexfer.embed(network, np.zeros((1, 112, 112, 3)))
    with pytest.raises(InputError, match="with detector, got an array"):
        facexfer.embed(network, np.zeros((1, 112, 112, 3), np.uint8), detector="yunet.onnx")  # type: ignore[call-overload]
    with pytest.raises(InputError, match="expected a folder of photos with detector"):
        facexfer.embed(network, manifest, detector="yunet.onnx")
    write_photos(tmp_path / "photos", people=1, photos=1)
    with pytest.raises(InputError, match="align the photos first"):
        facexfer.embed(network, tmp_path / "photos")


def test_a_folder_of_photos_ends_where_it_ends(network: BackboneModule, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    os.mkfifo(tmp_path / "photos" / "pipe.jpg")
    write_photos(tmp_path / "elsewhere", people=1, photos=1)
    (tmp_path / "photos" / "link.jpg").symlink_to(tmp_path / "elsewhere" / "p0" / "0.png")
    detector = shared("detectors/yunet_n_dynamic.onnx")
    with pytest.raises(InputError, match=r"found none: .*link\.jpg \(link-out-of-folder\)"):
        facexfer.embed(network, tmp_path / "photos", detector=detector)


@pytest.mark.slow
def test_photos_are_aligned_and_those_without_a_face_are_told_of(network: BackboneModule, tmp_path: Path) -> None:
    detector = next(shared("detectors").glob("*yunet*.onnx"))
    photos = sorted(shared("data/raw-photos").glob("img*.jpg"))[:3]
    write_photos(tmp_path / "photos", people=1, photos=1)
    for number, photo in enumerate(photos):
        (tmp_path / "photos" / f"q{number}").mkdir()
        (tmp_path / "photos" / f"q{number}" / "a.jpg").write_bytes(photo.read_bytes())
    with pytest.warns(UserWarning, match=r"1 of 4 photos gave no crop and are left out: p0/0\.png \(no-face\)"):
        side = facexfer.embed(network, tmp_path / "photos", detector=detector)
    assert side.labels.tolist() == ["q0", "q1", "q2"]
    made = facexfer.prepare(tmp_path / "photos", str(tmp_path / "crops"), detector=detector)
    assert made.summary["crops"] == 3
    assert np.abs(facexfer.embed(network, made.manifest).embeddings - side.embeddings).max() < 1e-5
