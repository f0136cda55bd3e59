"""Every runtime's file embeds as the network does, in a bundle and by the commands that use it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import run
from onnx import numpy_helper
from small_faces import write_small_set

import facexfer
from facexfer.backbones import create_backbone
from facexfer.data.images import read_crop
from facexfer.deploy.matching import Matcher
from facexfer.deploy.runtime_files import open_runtime
from facexfer.deploy.runtimes import RUNTIMES, choose_runtime
from facexfer.deploy.runtimes.runtime import need
from facexfer.engine.train import train
from facexfer.errors import InputError, RunError
from facexfer.eval.unit_length import unit_length
from facexfer.files.digest import file_digest
from facexfer.measure.embedder import load
from facexfer.recipe import Recipe, read_recipe
from facexfer.runs.folder import RunFolder

HERE = ["onnxruntime:fp16", "opencv:fp32"]


@pytest.fixture(scope="module")
def trained(recipe_for: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runtimes")
    manifest = write_small_set(folder)
    recipe = recipe_for(
        manifest,
        source={"backbone": "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"},
        method={"name": "l2"},
        optimizer={"iterations": 2, "batch_size": 8},
        evaluation={"fars": [0.2], "untouched": False, "pairs": [{"probe": "nir"}]},
    )
    train(recipe, folder / "run")
    return folder


@pytest.fixture(scope="module")
def names():
    # Not importorskip: imported by anybody but the runtime, OpenVINO reports its use, and the test fails for it.
    more = [] if find_spec("openvino") is None else ["openvino:fp32", "openvino:fp16"]
    return [*more, *([] if find_spec("ncnn") is None or find_spec("pnnx") is None else ["ncnn:fp32"]), *HERE]


@pytest.fixture(scope="module")
def bundle(trained: Path, names) -> Path:
    words = ["--opset", "17", "--max-loss", "1", "--runtime", *names, "tensorrt"]
    shown = run("export", trained / "run", "--out", trained / "b", *words)
    for name in names:
        assert f"\n{name}: " in shown
    assert "\ntensorrt:fp32: converted, not measured; on the device: trtexec --onnx=model.tensorrt.onnx " in shown
    line = (
        "For tensorrt:fp32: trtexec --onnx=model.tensorrt.onnx --saveEngine=model.plan --minShapes=input:1x3x112x112 "
    )
    assert line in (trained / "b" / "README.md").read_text()
    assert "fastest here: " in shown
    return trained / "b"


@pytest.mark.slow
def test_the_contract_lists_each_runtimes_files_with_what_was_measured(bundle: Path, names) -> None:
    contract = json.loads((bundle / "model.json").read_text())
    *here, elsewhere = contract["runtimes"]
    assert [f"{each['runtime']}:{each['precision']}" for each in here] == names
    assert (elsewhere["runtime"], elsewhere["status"], elsewhere["gate"]) == (
        "tensorrt",
        "converted, not measured",
        None,
    )
    assert "--optShapes=input:32x3x112x112 " in elsewhere["measure_on_device"]
    for entry in here:
        assert entry["status"] == "measured"
        assert entry["versions"]
        batch = 1 if entry["runtime"] == "ncnn" else "N"
        form = {"layout": "NCHW", "channels": "RGB", "range": [0, 255], "dtype": "float32", "batch": batch}
        assert entry["input"] == form
        assert [(each["batch"], each["threads"]) for each in entry["gate"]["latencies"]] == [
            (1, None), (32, None), (1, 1), (32, 1),
        ]  # fmt: skip
        assert 20 < entry["peak_megabytes"] < 2000
        assert all((bundle / each["name"]).stat().st_size == each["bytes"] for each in entry["files"])
    times = contract["recommended"]["milliseconds_of_all"]
    assert set(times) == {"onnxruntime:fp32", *names}
    assert contract["recommended"]["milliseconds"] == min(times.values())


@pytest.mark.slow
def test_a_runtime_embeds_as_the_run_does_one_crop_or_several(bundle: Path, trained: Path, names) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    expected = load(trained / "run").embed(crops)
    for name in names:
        embedder = open_runtime(bundle, name)
        near = 1e-4 if name.endswith("fp32") else 0.05
        np.testing.assert_allclose(embedder.embed(crops), expected, atol=near * np.abs(expected).max())
        np.testing.assert_allclose(embedder.embed(crops[:1]), expected[:1], atol=near * np.abs(expected).max())
    assert len({open_runtime(bundle, name).fingerprint for name in names}) == len(names)


@pytest.mark.slow
def test_the_lines_of_the_readme_run_with_the_runtime_alone(bundle: Path, trained: Path, names) -> None:
    readme = (bundle / "README.md").read_text()
    blocks = re.findall(r"nothing but (\S+) .*?```python\n(.*?)```", readme, re.DOTALL)
    assert [name for name, _ in blocks[1:]] == names
    # What only runs the file, without its converter.
    installed = dict(re.findall(r"nothing but (\S+) \(`pip install (.+)`\)", readme))
    assert installed == {name: choose_runtime(name).runtime.needs[0] for name in names}
    photos = sorted((trained / "nir" / "p0").iterdir())[:2]
    first, second = unit_length(
        load(trained / "run").embed(np.stack([read_crop(photo, (112, 112)) for photo in photos]))
    )
    forbidden = "import sys; assert not {'torch', 'facexfer', 'onnx', 'insightface'} & set(sys.modules)"
    for name, code in blocks:
        code = code.replace('"a.jpg", "b.jpg"', ", ".join(f'"{photo}"' for photo in photos))
        telemetry = "import sys; sys.modules['openvino_telemetry'] = None\n" if name.startswith("openvino") else ""
        done = subprocess.run(
            [sys.executable, "-c", f"{telemetry}{code}\n{forbidden}"],
            cwd=bundle, capture_output=True, text=True, check=True, timeout=100,
        )  # fmt: skip
        assert float(done.stdout) == pytest.approx(float(first @ second), abs=2e-3), name


@pytest.mark.slow
def test_every_file_decides_by_its_own_threshold(bundle: Path, trained: Path, names, tmp_path: Path) -> None:
    contract = json.loads((bundle / "model.json").read_text())
    *here, elsewhere = contract["runtimes"]
    assert elsewhere["thresholds"] == []
    for name, entry in zip(names, here, strict=True):
        (known,) = entry["thresholds"]
        given: dict[str, Any] = {"images": trained / "images.csv", "split": "val", "probe": "nir", "fars": [0.2]}
        (point,) = facexfer.evaluate(open_runtime(bundle, name), **given).points
        assert (known["far"], known["threshold"]) == (0.2, pytest.approx(point.threshold, abs=1e-5))
        assert Matcher(bundle, None, name).threshold(None).score == known["threshold"]
    above = map(float, re.findall(r"the same person if above (-?[\d.]+)", (bundle / "README.md").read_text()))
    own = [contract["operating_point"]["threshold"], *(entry["thresholds"][0]["threshold"] for entry in here)]
    assert list(above) == pytest.approx(own, abs=1.1e-6)

    def change(content: dict) -> None:
        for each in (content["runtimes"][-2]["thresholds"][0], content["runtimes"][-2]["scores"]["points"][0]):
            each["threshold"] = 0.75
        del content["runtimes"][-3]["thresholds"]

    copy = copied(bundle, tmp_path / "b", change)
    assert Matcher(copy, None, "opencv").threshold(0.2).score == 0.75
    # A bundle of an older version has one threshold for all.
    assert Matcher(copy, None, "onnxruntime:fp16").threshold(None).score == own[0]
    # The README's lines of a device decide so too.
    (tmp_path / "log.csv").write_text("score,accepted\n0.760001,1\n0.740001,0\n")
    found = [facexfer.monitor(tmp_path / "log.csv", copy, runtime=name) for name in ("opencv", None)]
    assert found[0].measured.threshold == 0.75
    assert found[0].reasons == ()
    assert found[1].measured.threshold == own[0]


@pytest.mark.slow
def test_a_log_is_compared_with_the_file_that_runs(bundle: Path, trained: Path, names, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("score\n0.76\n0.74\n")
    for name in names:
        given: dict[str, Any] = {"images": trained / "images.csv", "split": "val", "probe": "nir", "fars": [0.2]}
        (point,) = facexfer.evaluate(open_runtime(bundle, name), **given).points
        measured = facexfer.monitor(tmp_path / "log.csv", bundle, runtime=name).measured
        assert (measured.genuine_rate, measured.impostor_rate) == (point.tar, point.achieved_far)
        assert measured.threshold == pytest.approx(point.threshold, abs=1e-5)

    def change(content: dict) -> None:
        content["runtimes"][-2]["scores"]["points"][0]["genuine_rate"] = 0.25
        del content["runtimes"][-3]["scores"]

    copy = copied(bundle, tmp_path / "b", change)
    rates = [
        facexfer.monitor(tmp_path / "log.csv", copy, runtime=name).measured.genuine_rate
        for name in ("opencv", "onnxruntime:fp16", None)
    ]
    # A bundle of an older version has one summary for all.
    assert (rates[0], rates[1]) == (0.25, rates[2])
    assert rates[2] != 0.25


@pytest.mark.slow
def test_the_commands_use_a_runtime(bundle: Path, trained: Path) -> None:
    manifest, photo = trained / "images.csv", trained / "nir/p0/0.png"
    words = ["--manifest", manifest, "--split", "val", "--probe", "nir", "--far", "0.2"]
    shown = run("evaluate", "--model", bundle, "--runtime", "opencv", *words)
    assert shown.splitlines()[-1] == run("evaluate", "--model", trained / "run", *words).splitlines()[-1]
    everybody = run("evaluate", "--model", bundle, "--runtime", "opencv", *words[:2], *words[4:])
    assert re.search(r"people measured are people that b was trained on", everybody)
    assert "the same person" in run("match", photo, photo, "--bundle", bundle, "--runtime", "opencv")
    assert "as it was measured" in run("verify-bundle", bundle, "--runtime", "opencv")
    whole = run("verify-bundle", bundle, "--runtime", "onnxruntime:fp16", "--run", trained / "run")
    assert "largest embedding difference" in whole


@pytest.mark.slow
def test_a_changed_file_and_an_absent_runtime_are_refused(bundle: Path, trained: Path) -> None:
    words = ["--model", bundle, "--manifest", trained / "images.csv", "--runtime"]
    with pytest.raises(InputError, match="expected a runtime that the bundle has .*got 'coreml'; export it with"):
        run("evaluate", *words, "coreml")
    with pytest.raises(InputError, match="expected a runtime that runs here, got tensorrt; on the device: trtexec"):
        run("evaluate", *words, "tensorrt")
    weights = bundle / "model.opencv.onnx"
    before = weights.read_bytes()
    weights.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    try:
        with pytest.raises(RunError, match=r"model.opencv.onnx: expected the file that was measured"):
            open_runtime(bundle, "opencv:fp32")
    finally:
        weights.write_bytes(before)


def copied(bundle: Path, folder: Path, change: Callable[[dict], None]) -> Path:
    """A copy of the bundle that says something else of itself."""
    shutil.copytree(bundle, folder)
    content = json.loads((folder / "model.json").read_text())
    change(content)
    (folder / "model.json").write_text(json.dumps(content))
    return folder


@pytest.mark.slow
def test_a_damaged_file_of_any_runtime_is_no_bundle_as_it_was_measured(bundle: Path, tmp_path: Path) -> None:
    copy = copied(bundle, tmp_path / "b", lambda content: None)
    file = copy / "model.opencv.onnx"
    file.write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"model\.opencv\.onnx: expected the file that was measured"):
        run("verify-bundle", copy)
    file.unlink()
    with pytest.raises(InputError, match=r"expected a bundle with model\.opencv\.onnx, found none; copy it again"):
        run("verify-bundle", copy)


@pytest.mark.slow
def test_what_an_older_bundle_did_not_record_is_not_checked(bundle: Path, tmp_path: Path) -> None:
    def forget(content: dict) -> None:
        for each in (content, *(file for entry in content["runtimes"] for file in entry["files"])):
            del each["sha256"]

    copy = copied(bundle, tmp_path / "b", forget)
    assert "as it was measured" in run("verify-bundle", copy)
    assert "as it was measured" in run("verify-bundle", copy, "--runtime", "opencv")


@pytest.mark.slow
def test_a_file_that_was_converted_only_is_measured_where_it_runs(bundle: Path, trained: Path, tmp_path: Path) -> None:
    def forget(content: dict) -> None:
        for entry in content["runtimes"]:
            if entry["runtime"] == "onnxruntime":
                entry |= {"gate": None, "status": "converted, not measured", "peak_megabytes": None}

    def expect(content: dict) -> None:
        forget(content)
        # These people are easy: no file loses any TAR, so one is expected to gain.
        content["gate"][0]["tolerance"]["loss"] = -0.5

    words = ["--runtime", "onnxruntime:fp16"]
    copy = copied(bundle, tmp_path / "b", forget)
    shown = run("verify-bundle", copy, *words)
    assert re.search(r"FAR 0.2: TAR \d+\.\d\d %, model.onnx has \d+\.\d\d %\n", shown)
    assert "onnxruntime:fp16 passed its first measurement" in shown
    assert "largest embedding difference" in run("verify-bundle", copy, *words, "--run", trained / "run")
    copy = copied(bundle, tmp_path / "c", expect)
    with pytest.raises(RunError, match=r"expected TAR \d+\.\d\d % at FAR 0\.2, got .*; do not use it here"):
        run("verify-bundle", copy, *words)


@pytest.mark.slow
def test_a_file_that_computes_nan_here_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "b"
    shutil.copytree(bundle, copy)
    proto = onnx.load(copy / "model.onnx")
    weights = max(proto.graph.initializer, key=lambda each: len(each.raw_data))
    weights.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(weights), np.nan), weights.name))
    onnx.save(proto, copy / "model.onnx")
    content = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(content | {"sha256": file_digest(copy / "model.onnx")}))
    with pytest.raises(RunError, match=r"^model\.onnx: expected finite embeddings .*; do not use it here"):
        run("verify-bundle", copy)


@pytest.mark.slow
def test_a_run_of_another_length_of_embedding_is_refused(bundle: Path, trained: Path, tmp_path: Path) -> None:
    recipe = read_recipe(RunFolder(trained / "run").recipe_file)
    other = create_backbone("mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=16)")
    source = recipe.source.model_copy(update={"backbone": other.info.name})
    RunFolder(tmp_path / "run").start(recipe.model_copy(update={"source": source}))
    RunFolder(tmp_path / "run").save_model(other, recipe.model_copy(update={"source": source}))
    with pytest.raises(
        InputError, match=r"run: expected the run that the bundle was made .* of 32 numbers, got one of 16;"
    ):
        run("verify-bundle", bundle, "--run", tmp_path / "run")


def test_names_of_runtimes_and_precisions() -> None:
    assert {"onnxruntime", "openvino", "opencv"} <= set(RUNTIMES)
    assert choose_runtime("openvino").name == "openvino:fp32"
    with pytest.raises(InputError, match="did you mean 'openvino'"):
        choose_runtime("openvin")
    with pytest.raises(InputError, match=r"expected a precision that opencv has \(fp32\), got 'int4'"):
        choose_runtime("opencv:int4")


def test_an_absent_library_is_one_line_with_the_command_that_installs_it() -> None:
    with pytest.raises(
        InputError, match=r'the runtime openvino, got: .*; install it by pip install "facexfer\[openvino'
    ):
        need("no_such_library", RUNTIMES["openvino"])
