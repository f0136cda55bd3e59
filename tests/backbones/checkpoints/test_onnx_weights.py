"""ONNX files in arcface_torch's form become trainable networks of ours that compute the same."""

import contextlib
import functools
import http.server
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from arcface_export import export_arcface, give_statistics, rename
from onnxruntime.transformers.float16 import convert_float_to_float16
from safetensors.torch import save_file
from shared_data import shared

from facexfer.backbones import create_backbone
from facexfer.backbones.checkpoints import onnx_weights
from facexfer.backbones.identify import identify
from facexfer.backbones.parts.carried import facts_to_metadata
from facexfer.backbones.parts.info import BackboneModule
from facexfer.backbones.revive import revive_batchnorm
from facexfer.backbones.spelling import split_name
from facexfer.deploy.onnx_export import export_onnx
from facexfer.errors import InputError
from facexfer.measure.embedder import load
from facexfer.runs.folder import load_backbone_file


@pytest.fixture(scope="module")
def small() -> BackboneModule:
    return give_statistics(create_backbone("mbf", scale=1, blocks=(1, 1, 1, 1), embedding_size=64))


@pytest.fixture(scope="module")
def exported(small: BackboneModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_arcface(small, tmp_path_factory.mktemp("onnx") / "w.onnx")


OPTIONS: dict[str, Any] = {"scale": 1, "blocks": (1, 1, 1, 1), "embedding_size": 64}
SMALL = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=64)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dynamic"),
    [("mbf", True), ("mbf(head='fc')", True), ("iresnet18", False), ("iresnet50", True), ("mobilefacenet", True)],
)
def test_networks_come_back_from_onnx(
    name: str, dynamic: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = give_statistics(create_backbone(name))
    path = export_arcface(network, tmp_path / "w.onnx", dynamic, normalise=name == "mobilefacenet")
    loaded = create_backbone(name, weights=path)
    assert "w.onnx: within" in capsys.readouterr().err
    images = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        assert (loaded(images) - network(images)).abs().max() < 1e-4
    assert loaded.folded
    assert identify(path).network == name


def test_names_of_nodes_do_not_matter(small: BackboneModule, exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "renamed.onnx"
    path.write_bytes(exported.read_bytes())
    rename(path)
    loaded = create_backbone("mbf", weights=path, **OPTIONS)
    images = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        assert (loaded(images) - small(images)).abs().max() < 1e-4


def test_a_file_decides_which_head_mbf_has(tmp_path: Path) -> None:
    """Recipes say ``mbf``, and w600k_mbf.onnx has another end than arcface_torch's mbf of today."""
    network = give_statistics(create_backbone("mbf", **OPTIONS, head="fc"))
    export_arcface(network, tmp_path / "w.onnx")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pt")
    save_file(network.state_dict(), tmp_path / "model.safetensors", {"backbone": SMALL})
    spelled = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=64, head='fc')"
    images = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        expected = network(images)
        for loaded in (
            create_backbone("mbf", weights=tmp_path / "w.onnx", **OPTIONS),
            create_backbone(SMALL, weights=tmp_path / "w.pt"),
            load_backbone_file(tmp_path / "model.safetensors"),
            create_backbone(f"pdt:{SMALL}", weights=tmp_path / "w.onnx").eval(),
        ):
            assert split_name(loaded.info.name.removeprefix("pdt:")) == split_name(spelled)
            if not loaded.info.name.startswith("pdt:"):
                assert (loaded.eval()(images) - expected).abs().max() < 1e-4
    for path in (tmp_path / "w.onnx", tmp_path / "w.pt"):
        assert identify(path).network == spelled
        with pytest.raises(InputError, match="features"):
            create_backbone("mbf", weights=path, **OPTIONS, head="gdc")
    with pytest.raises(InputError, match="expected one of gdc, fc as head of mbf, got 'gap'"):
        create_backbone("mbf", head="gap")


def test_insightfaces_own_recognition_network(capsys: pytest.CaptureFixture[str]) -> None:
    """The real file, where its pack is installed; it may not be passed on."""
    path = Path("~/.insightface/models/buffalo_sc/w600k_mbf.onnx").expanduser()
    if not path.exists():
        pytest.skip("the pack buffalo_sc is not in ~/.insightface/models; InsightFace downloads it")
    loaded = create_backbone("mbf", weights="buffalo_sc")
    assert "within" in capsys.readouterr().err
    assert len(loaded.folded) == 49
    assert (loaded.info.name, loaded.info.licence) == ("mbf(head='fc')", "non-commercial research only")


def test_folded_batchnorm_is_revived_before_training(exported: Path) -> None:
    torch.manual_seed(0)
    loaded: Any = create_backbone("mbf", weights=exported, **OPTIONS)
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
def test_our_own_export_comes_back_with_its_normalisation(small: BackboneModule, tmp_path: Path) -> None:
    export_onnx(small, tmp_path / "m.onnx")
    loaded = create_backbone("mbf", weights=tmp_path / "m.onnx", **OPTIONS)
    assert loaded.info.mean == pytest.approx((127.5,) * 3)
    assert loaded.info.scale == pytest.approx((1 / 127.5,) * 3)
    images = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        assert (loaded(images) - small(images)).abs().max() < 1e-4


def test_half_precision_constants(small: BackboneModule, exported: Path, tmp_path: Path) -> None:
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
    assert loaded.state_dict()["conv_sep.layers.0.weight"].dtype == torch.float32
    assert "half precision" in identify(tmp_path / "h.pt").format
    assert identify(tmp_path / "h.pt").network == SMALL


def test_other_graphs_are_refused_with_the_place(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_relu6_variant_equals_its_onnx() -> None:
    from_torch = create_backbone("mobilefacenet_relu6", weights=shared("weights/mobilefacenet-relu6.pt")).eval()
    path = shared("weights/mobilefacenet-relu6.onnx")
    from_onnx = create_backbone("mobilefacenet_relu6", weights=path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        expected = session.run(None, {"input0": images.numpy()})[0]
        for network in (from_torch, from_onnx):
            difference = np.abs(network(images).numpy() - expected).max()
            print(
                f"{network.info.source}: within {difference:.1e} of onnxruntime, largest {np.abs(expected).max():.1f}"
            )
            assert difference < 1e-4
    assert from_torch.info.licence == "Apache-2.0"


def test_casia_network_equals_an_independent_forward() -> None:
    path = shared("weights/mobilefacenet-112x96-casia.ckpt")
    network = create_backbone("mobilefacenet_112x96", weights=path).eval()
    weights = torch.load(path, map_location="cpu", weights_only=True)["net_state_dict"]
    images = torch.randn(2, 3, 112, 96)
    with torch.no_grad():
        difference = (network(images) - casia_forward(weights, images)).abs().max()
    print(f"{network.info.name}: within {difference:.1e} of an independent forward")
    assert difference < 1e-4


def casia_forward(weights: dict[str, torch.Tensor], maps: torch.Tensor) -> torch.Tensor:
    """The network written anew from its file's names and shapes."""
    functional = torch.nn.functional

    def step(maps, conv, norm, slope=None, stride: int = 1):
        kernel = weights[f"{conv}.weight"]
        padding = 1 if kernel.shape[2:] == (3, 3) else 0
        maps = functional.conv2d(maps, kernel, None, stride, padding, groups=maps.shape[1] // kernel.shape[1])
        mean, var, weight, bias = (
            weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        maps = functional.batch_norm(maps, mean, var, weight, bias, False, 0.0, 1e-5)
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
def test_damaged_files_give_one_clear_error(small: BackboneModule, exported: Path, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "w.pth")
    torch.save(small.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(dict(small.state_dict()), tmp_path / "w.safetensors", facts_to_metadata(small.info))
    generator = np.random.default_rng(0)
    kinds = (exported, tmp_path / "w.pth", tmp_path / "old.pth", tmp_path / "w.safetensors")
    for kind in kinds:
        data = kind.read_bytes()
        for trial in range(12):
            damaged = bytearray(data)
            if trial % 3 == 0:
                damaged = damaged[: generator.integers(0, len(data))]
            else:
                # Names and lengths are at both ends of a file; most of the rest is weights.
                for place in generator.integers(0, min(len(data), 3000), 1 + trial % 4):
                    damaged[-place if trial % 3 == 1 else place] = generator.integers(0, 256)
            path = tmp_path / f"d{kind.suffix}"
            path.write_bytes(bytes(damaged))
            # Nothing but this one error may come out; a change of some weight's digit goes unseen.
            for read in (lambda: create_backbone("mbf", weights=path, **OPTIONS), lambda: identify(path)):  # noqa: B023
                with contextlib.suppress(InputError):
                    read()


def test_weights_in_a_file_of_their_own_are_read_and_in_another_folder_refused(exported: Path, tmp_path: Path) -> None:
    proto = onnx.load(exported)
    (tmp_path / "in").mkdir()
    onnx.save(proto, tmp_path / "in" / "e.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    file = tmp_path / "in" / "E.bin"
    (tmp_path / "in" / "e.onnx").rename(file)
    assert identify(file).network == SMALL
    create_backbone(SMALL, weights=file)
    outside = onnx.load(file, load_external_data=False)
    (tmp_path / "in" / "w.bin").rename(tmp_path / "w.bin")
    with pytest.raises(InputError, match=r"E\.bin: expected its weights in w\.bin next to it, found none; copy both"):
        identify(file)
    for tensor in outside.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../w.bin" if entry.key == "location" else entry.value
    file.write_bytes(outside.SerializeToString())
    for use in (identify, lambda path: create_backbone(SMALL, weights=path)):
        with pytest.raises(InputError, match=r"expected weights in its own folder, got '\.\./w\.bin'"):
            use(file)


def test_a_fixed_batch_comes_back(small: BackboneModule, tmp_path: Path) -> None:
    export_onnx(small, tmp_path / "b4.onnx", batch=4)
    loaded = create_backbone(SMALL, weights=tmp_path / "b4.onnx").state_dict()
    assert loaded.keys() == small.state_dict().keys()


def test_packs_by_name(monkeypatch: pytest.MonkeyPatch, exported: Path, tmp_path: Path) -> None:
    """InsightFace's own look-up in ~/.insightface, and its own download where nothing answers."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(InputError, match="expected a network connection to download the pack 'buffalo_sc', got: "):
        create_backbone("mbf", weights="buffalo_sc")
    pack = tmp_path / ".insightface" / "models" / "antelopev2" / "antelopev2"
    pack.mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected glintr100\.onnx, found none; remove the folder and try again"):
        create_backbone("iresnet100", weights="antelopev2")
    (pack / "glintr100.onnx").write_bytes(exported.read_bytes())
    assert create_backbone("mbf", weights="antelopev2", **OPTIONS).info.embedding_size == 64
    assert load(Path("antelopev2"), SMALL).embed(np.zeros((1, 112, 112, 3), np.uint8)).shape == (1, 64)


@pytest.mark.slow
def test_packs_are_downloaded_by_insightface(monkeypatch: pytest.MonkeyPatch, exported: Path, tmp_path: Path) -> None:
    """A real server on this machine in the place of the release page."""
    from insightface.utils import storage

    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / "buffalo_sc.zip", "w") as pack:
        pack.write(exported, "w600k_mbf.onnx")
    (served / "buffalo_s.zip").write_bytes(b"no zip")
    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(storage, "MODEL_ZOO_RELEASE_DOWNLOAD_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert create_backbone("mbf", weights="buffalo_sc", **OPTIONS).info.embedding_size == 64
        for name in ("buffalo_s", "buffalo_l"):
            with pytest.raises(InputError, match=f"expected a network connection to download the pack '{name}'"):
                create_backbone("mbf", weights=name)
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_file_that_computes_in_half_precision(exported: Path, small: BackboneModule, tmp_path: Path) -> None:
    for keep in (True, False):
        half = convert_float_to_float16(onnx.load(exported), keep_io_types=keep)
        path = tmp_path / f"{keep}.onnx"
        onnx.save(half, path)
        assert "half precision" in identify(path).format
        loaded = create_backbone(SMALL, weights=path)
        images = torch.randn(2, 3, 112, 112)
        with torch.no_grad():
            expected = small(images)
            assert (loaded(images) - expected).abs().max() < 5e-3 * expected.abs().max()


def test_options_in_the_name(exported: Path) -> None:
    assert identify(exported).network == SMALL
    network: Any = create_backbone(SMALL, weights=exported)
    assert network.info.name == SMALL
    assert (network.scale, network.blocks) == (1, (1, 1, 1, 1))
    for bad in ("mbf(scale)", "mbf(1)", "mbf(scale=open('x'))", "mbf(scale=1", "mbf(**{})", "a.b(c=1)", "mbf()()"):
        with pytest.raises(InputError, match="expected a network with options such as"):
            create_backbone(bad)
    with pytest.raises(InputError, match="expected options of mbf, got depth"):
        create_backbone("mbf(depth=1)")
