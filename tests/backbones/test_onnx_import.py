"""ONNX files in arcface_torch's form become trainable networks of ours that compute the same."""

import contextlib

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from arcface_export import export_arcface, give_statistics, rename
from shared_data import shared

from facexfer.backbones import create_backbone
from facexfer.backbones.checkpoints import onnx_weights
from facexfer.backbones.identify import identify
from facexfer.backbones.revive import revive_batchnorm
from facexfer.deploy.onnx_export import export_onnx
from facexfer.errors import InputError


@pytest.fixture(scope="module")
def small():
    return give_statistics(create_backbone("mbf", scale=1, blocks=(1, 1, 1, 1), embedding_size=64))


@pytest.fixture(scope="module")
def exported(small, tmp_path_factory):
    return export_arcface(small, tmp_path_factory.mktemp("onnx") / "w.onnx")


OPTIONS = {"scale": 1, "blocks": (1, 1, 1, 1), "embedding_size": 64}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dynamic"), [("mbf", True), ("iresnet18", False), ("mobilefacenet", True)])
def test_networks_come_back_from_onnx(name, dynamic, tmp_path, capsys):
    network = give_statistics(create_backbone(name))
    path = export_arcface(network, tmp_path / "w.onnx", dynamic, normalise=name == "mobilefacenet")
    loaded = create_backbone(name, weights=path)
    assert "w.onnx: within" in capsys.readouterr().err
    images = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        assert (loaded(images) - network(images)).abs().max() < 1e-4
    assert loaded.folded
    if name != "iresnet18":
        assert identify(path).network.split(" ")[0] == name


def test_names_of_nodes_do_not_matter(small, exported, tmp_path):
    path = tmp_path / "renamed.onnx"
    path.write_bytes(exported.read_bytes())
    rename(path)
    loaded = create_backbone("mbf", weights=path, **OPTIONS)
    images = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        assert (loaded(images) - small(images)).abs().max() < 1e-4


def test_folded_batchnorm_is_revived_before_training(exported):
    torch.manual_seed(0)
    loaded = create_backbone("mbf", weights=exported, **OPTIONS)
    assert not loaded.training
    with pytest.raises(InputError, match="expected BatchNorm with statistics before training mbf"):
        loaded.train()
    images = torch.rand(8, 3, 112, 112) * 2 - 1
    with torch.no_grad():
        before = loaded(images)
        assert set(revive_batchnorm(loaded, images.split(4))) > {"conv_sep.layers.1"}
        assert (loaded(images) - before).abs().max() < 1e-4
        loaded.train()
        for module in loaded.modules():
            # The last BatchNorm was not folded: its statistics are the file's, not these images'.
            module.training = module is not loaded.features.layers[3]
        after = loaded(images)
    assert torch.nn.functional.cosine_similarity(after, before).min() > 0.999


@pytest.mark.slow
def test_our_own_export_comes_back_with_its_normalisation(small, tmp_path):
    export_onnx(small, tmp_path / "m.onnx")
    loaded = create_backbone("mbf", weights=tmp_path / "m.onnx", **OPTIONS)
    assert loaded.info.mean == pytest.approx((127.5,) * 3)
    assert loaded.info.scale == pytest.approx((1 / 127.5,) * 3)
    images = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        assert (loaded(images) - small(images)).abs().max() < 1e-4


def test_half_precision_constants(small, exported, tmp_path):
    proto = onnx.load(exported)
    sizes = 0
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.ndim == 4:
            sizes += array.size
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16).astype(np.float32), tensor.name))
    assert sizes
    onnx.save(proto, tmp_path / "h.onnx")
    create_backbone("mbf", weights=tmp_path / "h.onnx", **OPTIONS)
    torch.save({name: tensor.half() for name, tensor in small.state_dict().items()}, tmp_path / "h.pt")
    loaded = create_backbone("mbf", weights=tmp_path / "h.pt", **OPTIONS)
    assert loaded.conv_sep.layers[0].weight.dtype == torch.float32
    assert "half precision" in identify(tmp_path / "h.pt").format
    assert identify(tmp_path / "h.pt").network == "mbf (scale=1, blocks=(1, 1, 1, 1))"


def test_other_graphs_are_refused_with_the_place(exported, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"w\.onnx: expected the graph of mbf: expected .* is it another network"):
        create_backbone("mbf", weights=exported)
    with pytest.raises(InputError, match=r"expected the graph of iresnet18: expected 'features.weight' of shape"):
        create_backbone("iresnet18", weights=exported)
    monkeypatch.setattr(onnx_weights, "TOLERANCE", 1e-12)
    with pytest.raises(InputError, match="within 1e-12 of the original, got"):
        create_backbone("mbf", weights=exported, **OPTIONS)
    with pytest.raises(InputError, match="expected options of iresnet18, got scale"):
        create_backbone("iresnet18", scale=2)
    with pytest.raises(InputError, match="four numbers of blocks"):
        create_backbone("mbf", blocks=(1, 2))


def test_relu6_variant_equals_its_onnx():
    from_torch = create_backbone("mobilefacenet_relu6", weights=shared("weights/mobilefacenet-relu6.pt")).eval()
    path = shared("weights/mobilefacenet-relu6.onnx")
    from_onnx = create_backbone("mobilefacenet_relu6", weights=path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        expected = session.run(None, {"input0": images.numpy()})[0]
        for network in (from_torch, from_onnx):
            assert np.abs(network(images).numpy() - expected).max() < 1e-4
    assert from_torch.info.licence == "Apache-2.0"


def test_casia_network_equals_an_independent_forward():
    path = shared("weights/mobilefacenet-112x96-casia.ckpt")
    network = create_backbone("mobilefacenet_112x96", weights=path).eval()
    weights = torch.load(path, map_location="cpu", weights_only=True)["net_state_dict"]
    images = torch.randn(2, 3, 112, 96)
    with torch.no_grad():
        assert (network(images) - casia_forward(weights, images)).abs().max() < 1e-4


def casia_forward(weights, maps):
    """The network written anew from its file's names and shapes."""
    functional = torch.nn.functional

    def step(maps, conv, norm, slope=None, stride=1):
        kernel = weights[f"{conv}.weight"]
        padding = 1 if kernel.shape[2:] == (3, 3) else 0
        maps = functional.conv2d(maps, kernel, None, stride, padding, groups=maps.shape[1] // kernel.shape[1])
        parts = (weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        maps = functional.batch_norm(maps, *parts, False, 0.0, 1e-5)
        return maps if slope is None else functional.prelu(maps, weights[f"{slope}.weight"])

    for name, stride in (("conv1", 2), ("dw_conv1", 1)):
        maps = step(maps, f"{name}.conv", f"{name}.bn", f"{name}.prelu", stride)
    for block in range(15):
        name = f"blocks.{block}.conv"
        before, stride = maps, 2 if block in (0, 5, 12) else 1
        maps = step(maps, f"{name}.0", f"{name}.1", f"{name}.2")
        maps = step(maps, f"{name}.3", f"{name}.4", f"{name}.5", stride)
        maps = step(maps, f"{name}.6", f"{name}.7")
        if maps.shape == before.shape:
            maps = maps + before
    maps = step(maps, "conv2.conv", "conv2.bn", "conv2.prelu")
    return step(step(maps, "linear7.conv", "linear7.bn"), "linear1.conv", "linear1.bn").flatten(1)


@pytest.mark.slow
def test_damaged_files_give_one_clear_error(small, exported, tmp_path):
    torch.save(small.state_dict(), tmp_path / "w.pth")
    generator = np.random.default_rng(0)
    clean = {".onnx": exported.read_bytes(), ".pth": (tmp_path / "w.pth").read_bytes()}
    for suffix, data in clean.items():
        for trial in range(9):
            damaged = bytearray(data)
            if trial % 3 == 0:
                damaged = damaged[: generator.integers(0, len(data))]
            else:
                # Names and lengths are at both ends of a file; most of the rest is weights.
                for place in generator.integers(0, min(len(data), 3000), 1 + trial % 4):
                    damaged[-place if trial % 3 == 1 else place] = generator.integers(0, 256)
            path = tmp_path / f"d{suffix}"
            path.write_bytes(bytes(damaged))
            # Nothing but this one error may come out; a change of some weight's digit goes unseen.
            with contextlib.suppress(InputError):
                create_backbone("mbf", weights=path, **OPTIONS)


def test_a_model_with_weights_outside_opens_no_other_file(exported, tmp_path):
    proto = onnx.load(exported)
    onnx.save(proto, tmp_path / "e.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(InputError, match="expected all weights inside the file, got external data"):
        create_backbone("mbf", weights=tmp_path / "e.onnx", **OPTIONS)


def test_packs_by_name(monkeypatch, exported, tmp_path):
    from insightface.utils import storage

    def refuse(*_):
        raise OSError("no route to host")

    monkeypatch.setattr(storage, "ensure_available", refuse)
    with pytest.raises(InputError, match="expected a network connection to download the pack 'buffalo_sc'"):
        create_backbone("mbf", weights="buffalo_sc")
    (tmp_path / "w600k_mbf.onnx").write_bytes(exported.read_bytes())
    monkeypatch.setattr(storage, "ensure_available", lambda *_: str(tmp_path))
    assert create_backbone("mbf", weights="buffalo_sc", **OPTIONS).info.embedding_size == 64
