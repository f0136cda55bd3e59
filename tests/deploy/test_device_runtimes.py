"""LiteRT, ExecuTorch and the int8 of OpenVINO and ncnn: converted and embedding as the network, by their own tools."""

import platform
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from arcface_export import give_statistics

from facexfer.backbones import create_backbone
from facexfer.deploy.doctor import processor_features
from facexfer.deploy.gate import TOLERANCES
from facexfer.deploy.onnx_export import PixelsToEmbedding, export_onnx
from facexfer.deploy.runtime_files import RuntimeFile
from facexfer.deploy.runtime_gate import convert_all, make_original
from facexfer.deploy.runtimes import RUNTIMES
from facexfer.deploy.runtimes.embedder import RuntimeEmbedder
from facexfer.deploy.runtimes.ncnn import quantised_layers
from facexfer.deploy.runtimes.openvino import own_constants
from facexfer.deploy.runtimes.runtime import choose_runtime, refusing, versions
from facexfer.errors import InputError
from facexfer.eval.unit_length import unit_length
from facexfer.measure.embedder import load

NEEDED = {"executorch": ("executorch", "torchao"), "litert": ("ai_edge_litert", "litert_torch", "jax")}


def skip_without(name: str) -> None:
    """Skip where what a runtime needs is not installed."""
    if absent := set(RUNTIMES[name].needs) - versions(RUNTIMES[name].needs).keys():
        pytest.skip(f"{RUNTIMES[name].install} brings {', '.join(sorted(absent))}, absent here")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return give_statistics(create_backbone("mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"))


@pytest.fixture(scope="module", params=NEEDED)
def runtime(request: pytest.FixtureRequest):
    absent = [module for module in NEEDED[request.param] if find_spec(module) is None]
    if absent:
        pytest.skip(f"{RUNTIMES[request.param].install} brings {', '.join(absent)}, absent here")
    return request.param


@pytest.fixture(scope="module")
def crops():
    small = np.random.default_rng(0).integers(0, 256, (16, 14, 14, 3), dtype=np.uint8)
    return np.stack([cv2.resize(each, (112, 112), interpolation=cv2.INTER_CUBIC) for each in small])


@pytest.fixture(scope="module")
def expected(network, crops):
    with torch.no_grad():
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        return PixelsToEmbedding(network).eval()(pixels).numpy()


@pytest.fixture(scope="module")
def original(network, crops, tmp_path_factory: pytest.TempPathFactory):
    file = tmp_path_factory.mktemp("original") / "fp32.onnx"
    export_onnx(network, file, opset=17)
    return make_original(network, file, None, False, lambda: crops)


@pytest.fixture(scope="module")
def converted(runtime, original, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp(runtime)
    return folder, RUNTIMES[runtime].convert(original, folder, "fp32")


@pytest.mark.slow
def test_it_embeds_as_the_network_on_any_number_of_threads(converted, runtime, crops, expected) -> None:
    folder, files = converted
    choice = choose_runtime(runtime)
    embedders = [RuntimeEmbedder(choice, folder, files, (112, 112), 1, threads) for threads in (None, 1)]
    # The first again, after the second has changed what threads the process may have.
    for embedder in (*embedders, embedders[0]):
        np.testing.assert_allclose(embedder.embed(crops), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NEEDED, "ncnn", "openvino"])
def test_the_mirrored_image_is_inside(network, name, crops, tmp_path: Path) -> None:
    skip_without(name)
    export_onnx(network, tmp_path / "both.onnx", opset=17, flip=True)
    original = make_original(network, tmp_path / "both.onnx", None, True, lambda: crops)
    embeddings = load(network, flip=True).embed(crops)
    smaller = {"executorch": (), "litert": ("fp16",), "ncnn": ("fp16",), "openvino": ("int8",)}[name]
    for precision, largest in (("fp32", 1e-4), *((each, 0.5) for each in smaller)):
        files = RUNTIMES[name].convert(original, tmp_path, precision)
        choice = choose_runtime(f"{name}:{precision}")
        got = RuntimeEmbedder(choice, tmp_path, files, (112, 112), RUNTIMES[name].fixed_batch).embed(crops)
        assert np.linalg.norm(unit_length(got) - unit_length(embeddings), axis=1).max() < largest


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NEEDED, "ncnn", "openvino"])
def test_attention_and_layer_normalisation_are_converted(name, crops, tmp_path: Path) -> None:
    skip_without(name)
    torch.manual_seed(0)
    network = create_backbone("edgeface_xs_gamma_06").eval()
    for key, parameter in network.named_parameters():
        # A fresh network scales what its blocks add by a millionth.
        parameter.data.mul_(5e5 if "gamma" in key else 1)
    export_onnx(network, tmp_path / "edgeface.onnx", opset=17)
    original = make_original(network, tmp_path / "edgeface.onnx", None, False, lambda: crops)
    files = RUNTIMES[name].convert(original, tmp_path, "fp32")
    fixed_batch = RUNTIMES[name].fixed_batch
    embedder = RuntimeEmbedder(choose_runtime(f"{name}:fp32"), tmp_path, files, (112, 112), fixed_batch)
    if name == "executorch":
        # Version 1.5.1 converts it and then does not run it.
        with pytest.raises(InputError, match="expected a network that ExecuTorch runs, .* ship it for another runtime"):
            embedder.embed(crops)
        return
    got = embedder.embed(crops)
    assert np.linalg.norm(unit_length(got) - unit_length(load(network).embed(crops)), axis=1).max() < 1e-3


@pytest.mark.slow
def test_smaller_files_embed_nearly_as_the_network(
    converted, runtime, original, crops, expected, tmp_path: Path
) -> None:
    folder, (whole,) = converted
    # All layers in 8 bits, which is more than the gate bears; embeddings that have nothing in common are 1.4 apart.
    silent = dict.fromkeys(original.rounding_noise(), 0.0)
    original = replace(original, rounding_noise=lambda: silent)
    for precision in RUNTIMES[runtime].precisions[1:]:
        files = RUNTIMES[runtime].convert(original, tmp_path, precision)
        assert (tmp_path / files[0]).stat().st_size < 0.8 * (folder / whole).stat().st_size
        got = RuntimeEmbedder(choose_runtime(f"{runtime}:{precision}"), tmp_path, files, (112, 112), 1).embed(crops)
        distances = np.linalg.norm(unit_length(got) - unit_length(expected), axis=1)
        assert 0 < distances.max() < {"fp16": 1e-2, "int8": 0.5}[precision]


@pytest.mark.parametrize("name", ["executorch:int8", "litert:int8"])
def test_what_cannot_convert_the_mirrored_image_says_so(name, original, tmp_path: Path) -> None:
    choice = choose_runtime(name)
    with pytest.raises(
        InputError, match=rf"without the mirrored crop for {name}, .* leave --flip out, or take .*:fp32"
    ):
        choice.runtime.convert(replace(original, flip=True), tmp_path, choice.precision)
    assert not list(tmp_path.iterdir())


def test_all_that_is_refused_is_said_at_once(original, crops, tmp_path: Path) -> None:
    mirrored, crop = replace(original, flip=True), tmp_path / "crop.png"
    cv2.imwrite(str(crop), crops[0])
    choices = [choose_runtime(name) for name in ("litert:int8", "onnxruntime:fp16", "executorch:int8")]
    with pytest.raises(InputError, match="litert:int8: expected .* leave --flip out.*; executorch:int8: expected .*"):
        convert_all(choices, mirrored, tmp_path, crop)
    with pytest.raises(InputError, match="^expected a network without the mirrored crop for litert:int8"):
        convert_all(choices[:2], mirrored, tmp_path, crop)
    (file,) = convert_all([choices[1]], original, tmp_path, crop)
    assert file.name == "onnxruntime:fp16"


@pytest.fixture(scope="module")
def unreadable(crops, tmp_path_factory: pytest.TempPathFactory):
    """A network that OpenCV reads and then cannot run: the weights of PDT's convolutions are computed."""
    file = tmp_path_factory.mktemp("pdt") / "fp32.onnx"
    network = create_backbone("pdt:mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)").eval()
    export_onnx(network, file, opset=17)
    return make_original(network, file, None, True, lambda: crops)


def test_what_fails_at_the_first_crop_hides_no_other_answer(unreadable, crops, tmp_path: Path) -> None:
    crop = tmp_path / "crop.png"
    cv2.imwrite(str(crop), crops[0])
    choices = [choose_runtime(name) for name in ("opencv", "onnxruntime", "litert:int8")]
    before = cv2.getNumThreads()
    with pytest.raises(
        InputError, match="^opencv:fp32: .*opencv.onnx: expected a network that OpenCV runs, got: "
    ) as got:
        convert_all(choices, unreadable, tmp_path, crop)
    assert "; litert:int8: expected a network without the mirrored crop" in str(got.value)
    assert "\n" not in str(got.value)
    session = RUNTIMES["opencv"].open(tmp_path / "model.opencv.onnx", "fp32", before + 1)
    with pytest.raises(InputError, match="; ship it for another runtime$"):
        session(np.zeros((1, 3, 112, 112), np.float32))
    assert cv2.getNumThreads() == before


def test_onnxruntime_says_in_one_line_what_it_cannot_run(original, tmp_path: Path) -> None:
    RUNTIMES["onnxruntime"].convert(original, tmp_path, "fp32")
    session = RUNTIMES["onnxruntime"].open(tmp_path / "model.fp32.onnx", "fp32", 1)
    with pytest.raises(InputError, match=r"fp32\.onnx: expected a network that onnxruntime runs, got: .*dimensions"):
        session(np.zeros((1, 3, 96, 112), np.float32))


def test_core_ml_is_measured_on_macos_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    file = RuntimeFile("coreml", "fp32", ("model.mlpackage/Manifest.json",), 1)
    assert file.on_device == "on macOS, facexfer verify-bundle BUNDLE --runtime coreml"
    with pytest.raises(InputError, match="expected a runtime that runs here, got coreml; on the device: on macOS"):
        file.open(Path(), (112, 112))
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert file.on_device == ""


def test_trtexec_builds_for_the_networks_own_shapes() -> None:
    file = RuntimeFile("tensorrt", "fp32", ("model.tensorrt.onnx",), None, input_size=(112, 96))
    shapes = " --minShapes=input:1x3x112x96 --optShapes=input:32x3x112x96 --maxShapes=input:32x3x112x96"
    line = "trtexec --onnx=model.tensorrt.onnx --saveEngine=model.plan{}, with --fp16 for half precision"
    assert file.on_device == line.format(shapes)
    # Of a fixed batch the shape is in the file, and trtexec takes no other.
    assert replace(file, batch=4).on_device == line.format("")


def test_no_two_operators_share_a_constant_for_openvino(network, crops, tmp_path: Path) -> None:
    export_onnx(network, tmp_path / "both.onnx", opset=17, flip=True)
    proto = onnx.load(tmp_path / "both.onnx")
    shared = len(proto.graph.initializer)
    own_constants(proto)
    onnx.save(proto, tmp_path / "own.onnx")
    names = {each.name for each in proto.graph.initializer}
    uses = [name for node in proto.graph.node for name in node.input if name in names]
    assert len(uses) == len(set(uses)) == len(names) > shared
    assert np.array_equal(load(tmp_path / "own.onnx").embed(crops), load(tmp_path / "both.onnx").embed(crops))


@pytest.mark.slow
def test_openvinos_int8_moves_embeddings_by_no_more_than_it_says(original, crops, expected, tmp_path: Path) -> None:
    if find_spec("openvino") is None or find_spec("nncf") is None:
        pytest.skip(f"{RUNTIMES['openvino'].install} brings OpenVINO and NNCF, absent here")
    files = RUNTIMES["openvino"].convert(original, tmp_path, "int8")
    layers = (tmp_path / files[0]).read_text().count('type="FakeQuantize"')
    got = RuntimeEmbedder(choose_runtime("openvino:int8"), tmp_path, files, (112, 112), None).embed(crops)
    distances = np.linalg.norm(unit_length(got) - unit_length(expected), axis=1)
    assert layers > 20
    assert 0 < distances.mean() <= 0.061


@pytest.mark.slow
def test_a_damaged_file_is_refused(converted, runtime, tmp_path: Path) -> None:
    folder, files = converted
    damaged = tmp_path / files[0]
    damaged.write_bytes((folder / files[0]).read_bytes()[:1000])
    with pytest.raises(InputError, match=rf"{files[0]}: expected an? .*, got: .*; export it again"):
        RUNTIMES[runtime].open(damaged, "fp32", None)


class DependsOnPixels(torch.nn.Module):
    """What no converter can follow: which way it goes depends on the values."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))


@pytest.mark.slow
def test_a_network_that_cannot_be_converted_is_one_line(original, runtime, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a network that .* converts, got: .*; ship it for another") as error:
        RUNTIMES[runtime].convert(replace(original, network=DependsOnPixels()), tmp_path, "fp32")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_is_one_line_already_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^mine$"), refusing(tmp_path, "a network", Exception):
        raise InputError("mine")


def test_the_layers_that_eight_bits_would_blur(original) -> None:
    noises = {"first": 0.1, "second": 0.002, "third": float("nan")}
    known = replace(original, rounding_noise=lambda: noises)
    assert known.loud(["conv", "conv_1", "linear"], 0.002) == {"conv", "linear"}
    with pytest.raises(InputError, match="expected the 3 convolutions .*, the converter has 2; ship .* in fp32"):
        known.loud(["conv", "linear"], 0.002)


@pytest.fixture
def ncnn():
    if find_spec("ncnn") is None or find_spec("pnnx") is None:
        pytest.skip(f"{RUNTIMES['ncnn'].install} brings ncnn and pnnx, absent here")
    return RUNTIMES["ncnn"]


@pytest.mark.slow
def test_ncnns_int8_embeds_nearly_as_the_network(ncnn, original, crops, expected, tmp_path: Path) -> None:
    if shutil.which("ncnn2table") is None or shutil.which("ncnn2int8") is None:
        pytest.skip("ncnn2table and ncnn2int8, built from ncnn's sources, are not on the PATH")
    silent, loud = dict.fromkeys(original.rounding_noise(), 0.0), dict.fromkeys(original.rounding_noise(), 1.0)
    sizes, distances = [], []
    for noise in (silent, silent | dict.fromkeys(list(silent)[-1:], 1.0), loud):
        known = replace(original, rounding_noise=lambda noise=noise: noise)
        files = ncnn.convert(known, tmp_path, "int8")
        assert files == ("model.int8.ncnn.param", "model.int8.ncnn.bin")
        sizes.append((tmp_path / files[1]).stat().st_size)
        got = RuntimeEmbedder(choose_runtime("ncnn:int8"), tmp_path, files, (112, 112), 1).embed(crops)
        distances.append(np.linalg.norm(unit_length(got) - unit_length(expected), axis=1).max())
    # All layers in 8 bits, all but the last one, none.
    assert sizes[0] < sizes[1] < sizes[2]
    assert 0.5 > distances[0] >= distances[1] > 1e-3
    assert distances[2] < 1e-4


@pytest.mark.slow
def test_ncnns_int8_counts_layers_as_the_onnx_file_does(ncnn, original, tmp_path: Path) -> None:
    param, _ = ncnn.convert(original, tmp_path, "fp32")
    assert len(quantised_layers(tmp_path / param)) == len(original.rounding_noise())


def test_ncnns_int8_needs_its_tools(ncnn, original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="expected .* on the PATH, got no ncnn2table and no ncnn2int8; build ncnn"):
        ncnn.convert(original, tmp_path, "int8")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 1, 3, 4])
def test_openvino_takes_any_number_of_crops_and_a_fixed_one(network, batch, crops, expected, tmp_path: Path) -> None:
    skip_without("openvino")
    export_onnx(network, tmp_path / "fp32.onnx", opset=17, batch=batch)
    original = make_original(network, tmp_path / "fp32.onnx", batch, False, lambda: crops)
    files = RUNTIMES["openvino"].convert(original, tmp_path, "fp32")
    embedder = RuntimeEmbedder(choose_runtime("openvino"), tmp_path, files, (112, 112), batch)
    for count in (1, 2, 4, 7, 1):
        got = embedder.embed(crops[:count])
        np.testing.assert_allclose(got, expected[:count], atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_openvino_computes_in_bfloat16_where_the_cpu_does(original, crops, expected, tmp_path: Path) -> None:
    skip_without("openvino")
    if not processor_features() & {"avx512_bf16", "amx_bf16"}:
        for precision in ("bf16", "int8-bf16"):
            with pytest.raises(InputError, match=f"bfloat16 for openvino:{precision}, this one does not"):
                RUNTIMES["openvino"].convert(original, tmp_path, precision)
        return
    whole = RUNTIMES["openvino"].convert(original, tmp_path, "int8")
    before = (tmp_path / whole[0]).stat().st_mtime_ns
    for precision, file in (("bf16", "model.xml"), ("int8-bf16", whole[0])):
        files = RUNTIMES["openvino"].convert(original, tmp_path, precision)
        assert files[0] == file
        choice = choose_runtime(f"openvino:{precision}")
        got = RuntimeEmbedder(choice, tmp_path, files, (112, 112)).embed(crops)
        distances = np.linalg.norm(unit_length(got) - unit_length(expected), axis=1)
        assert 1e-4 < distances.max() < TOLERANCES[precision].difference
    # Both of 8 bits' precisions are one file, quantised once.
    assert (tmp_path / whole[0]).stat().st_mtime_ns == before
