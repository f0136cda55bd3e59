"""No command writes over what it reads, over files of others, or loses what it measured."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from command_line import run, status_of
from onnx import TensorProto, external_data_helper, helper
from photo_files import write_photos
from small_faces import write_small_set
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.commands.entry import repeat_options
from facexfer.commands.outputs import check_outputs
from facexfer.deploy.runtimes import RUNTIMES
from facexfer.errors import InputError
from facexfer.files.digest import file_digest
from facexfer.runs.folder import RunFolder

_CROSS = ("--gallery", "vis", "--probe", "nir")
_DOOR = ("--recommend", "--daily-attempts", "10", "--impostor-share", "0.1", "--max-false-accepts-per-year", "80")


RECIPE = """
plugins = ["plugin.py"]
source.backbone = "mobilefacenet_slim"
source.weights = "weights.onnx"
data.manifest = "set/images.csv"
source_data.manifest = "source.csv"
pool.manifest = "pool.csv"
companions.manifest = "companions.csv"
method.name = "delta"
optimizer.epochs = 1
"""
NAMED = ("plugin.py", "weights.onnx", "weights.bin", "set/images.csv", "source.csv", "pool.csv", "companions.csv")


@pytest.fixture
def a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder, with the files that its recipe names, in the folder that the process is in."""
    monkeypatch.chdir(tmp_path)
    for folder in ("run/checkpoints", "set"):
        Path(folder).mkdir(parents=True)
    Path("run/recipe.toml").write_text(RECIPE.replace('"plugin.py"', f'"{tmp_path}/plugin.py"'))
    for name in ("model.safetensors", "best.safetensors", "result.json", "checkpoints/last.safetensors"):
        Path("run", name).write_text(name)
    for name in NAMED:
        Path(name).write_text(f"# {name}")
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1], bytes(4), raw=True)
    graph = helper.make_graph([], "weights in a file of their own", [], [], [weights])
    model = helper.make_model(graph)
    external_data_helper.set_external_data(weights := model.graph.initializer[0], "weights.bin", length=4)
    weights.ClearField("raw_data")
    Path("weights.onnx").write_bytes(model.SerializeToString())
    return Path("run")


@pytest.mark.parametrize(
    "name", [*NAMED, "run/best.safetensors", "run/result.json", "run/checkpoints/last.safetensors"]
)
@pytest.mark.parametrize("model", ["run", "run/best.safetensors", "run/checkpoints/last.safetensors"])
def test_json_never_takes_the_place_of_what_a_run_was_trained_from(a_run: Path, model: str, name: str) -> None:
    before = Path(name).read_bytes()
    with pytest.raises(InputError, match=f"{name}: expected a new file after --json, got one that the command reads"):
        run("evaluate", "--model", model, "--manifest", "other.csv", "--json", name)
    assert Path(name).read_bytes() == before


def test_an_export_never_takes_the_place_of_what_the_run_was_trained_from(a_run: Path) -> None:
    before = Path("weights.onnx").read_bytes()
    Path("link.onnx").symlink_to("weights.onnx")
    for taken in ("weights.onnx", "set/../weights.onnx", "link.onnx"):
        with pytest.raises(InputError, match=f"{taken}: expected a new file after --out, got one that the command re"):
            run("export", a_run, "--out", taken)
        assert Path("weights.onnx").read_bytes() == before


def test_an_export_may_take_the_place_of_an_earlier_one(a_run: Path) -> None:
    Path("earlier.onnx").write_text("earlier")
    # Past the look at what is read: there is no network in this run.
    with pytest.raises(InputError, match="model.safetensors: expected a trained backbone"):
        run("export", a_run, "--out", "earlier.onnx")


def test_channel_weights_never_take_the_place_of_what_the_recipe_names(a_run: Path) -> None:
    for key, name in (("source.weights", "channel-weights.safetensors"), ("data.manifest", "channel-weights.csv")):
        Path("set", name).write_text("kept")
        with pytest.raises(InputError, match=f"set/{name}: expected a new file in the folder after --out, got one"):
            run("delta-weights", "run/recipe.toml", "--set", f"{key}=set/{name}", "--out", "set")
        assert Path("set", name).read_text() == "kept"


@pytest.fixture
def arrays(tmp_path: Path) -> list[str]:
    np.save(tmp_path / "e.npy", np.random.default_rng(0).normal(size=(20, 4)))
    np.save(tmp_path / "l.npy", np.arange(20) // 2)
    return ["--embeddings", str(tmp_path / "e.npy"), "--labels", str(tmp_path / "l.npy"), "--far", "0.1"]


@pytest.mark.parametrize("name", ["e.npy", "l.npy", "../{folder}/e.npy"])
def test_json_never_takes_the_place_of_an_input(arrays: list[str], tmp_path: Path, name: str) -> None:
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(InputError, match="expected a new file after --json, got one that the command reads"):
        run("evaluate", *arrays, "--json", tmp_path / name.format(folder=tmp_path.name))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("given", ["set", "set/images.csv"])
def test_json_never_takes_the_place_of_a_manifest(tmp_path: Path, given: str) -> None:
    table = tmp_path / "set" / "images.csv"
    table.parent.mkdir()
    table.write_text("path,identity,modality,split\n")
    with pytest.raises(InputError, match=r"images\.csv: expected a new file after --json, got one that the command"):
        run("evaluate", "--model", tmp_path / "m.onnx", "--manifest", tmp_path / given, "--json", table)


def test_a_bundles_contract_is_no_output(tmp_path: Path) -> None:
    scores, contract = tmp_path / "log.csv", tmp_path / "model.json"
    for taken in (scores, contract):
        with pytest.raises(InputError, match=f"{taken.name}: expected a new file after --json"):
            run("monitor", scores, "--bundle", tmp_path, "--json", taken)
    with pytest.raises(InputError, match=r"model\.json: expected a new file after --json"):
        run("evaluate", "--model", tmp_path, "--manifest", "images.csv", "--json", contract)


def test_a_report_never_takes_the_place_of_an_input(arrays: list[str], tmp_path: Path) -> None:
    figures = tmp_path / "old" / "report.json"
    run("evaluate", *arrays, "--report", figures.parent)
    before = figures.read_bytes()
    with pytest.raises(
        InputError, match=r"old/report\.json: expected a new file in the folder after --report, got one"
    ):
        run("evaluate", *arrays, "--thresholds", figures, "--report", figures.parent)
    assert figures.read_bytes() == before


def test_a_file_of_a_bundle_keeps_the_bundle_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    for name in ("model.json", "model.onnx"):
        (tmp_path / name).touch()
    words = ["evaluate", "--model", tmp_path / "model.onnx", "--manifest", "images.csv"]
    for option, taken in (("--json", "model.json"), ("--report", "report")):
        with pytest.raises(InputError, match=f"expected a new place after {option}, got a part of the bundle"):
            run(*words, option, tmp_path / taken)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--model", "{b}/model.onnx", *_CROSS], "own network of the gallery with --into, got none; give --gallery-m"),
        (
            ["--model", "{b}", *_CROSS, "--gallery-model", "{b}"],
            "own network of the gallery with --into, got .*b; give",
        ),
        (["--model", "{b}", *_CROSS, "--gallery-model", "{b}/model.onnx"], "with --into, got .*model.onnx; give"),
        (["--model", "{b}", *_CROSS, "--before", "old.onnx"], "with --into, got --before; give --gallery-model"),
        (["--model", "{b}", "--probe", "nir"], "expected --gallery with --into, got none; people are enrolled by gall"),
        (["--model", "{b}", *_CROSS, "--templates"], "expected no --templates with --into, since a bundle decides by"),
        (["--model", "{b}", *_CROSS, "--runtime", "openvino"], "expected model.onnx to be .* got --runtime openvino"),
        (["--embeddings", "e.npy", "--labels", "l.npy"], "expected the bundle after --model with --into, got embed"),
        (
            ["--model", "{b}/gallery.onnx", *_CROSS],
            "gallery.onnx: expected the bundle's own network with --into, got a",
        ),
        (["--model", "a-run", *_CROSS], "a-run: expected the bundle's own network with --into, got another; give --m"),
    ],
)
def test_a_bundle_takes_no_threshold_of_other_networks(tmp_path: Path, given: list[str], message: str) -> None:
    bundle = tmp_path / "b"
    bundle.mkdir()
    for name in ("model.onnx", "gallery.onnx"):
        (bundle / name).write_text(name)
    contract = {
        "evaluation": {"operating_points": []}, "operating_point": {"far": None}, "gallery": {"file": "gallery.onnx"},
        "sha256": file_digest(bundle / "model.onnx"),
    }  # fmt: skip
    (bundle / "model.json").write_text(json.dumps(contract))
    words = [each.format(b=bundle) for each in given] + ([] if "--labels" in given else ["--manifest", "images.csv"])
    with pytest.raises(InputError, match=message):
        run("evaluate", *words, *_DOOR, "--into", bundle)


def test_one_path_is_not_both_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file after --json and a folder after --report, got one for both"):
        check_outputs(tmp_path / "new", tmp_path / "new")


def test_no_file_takes_the_place_of_a_device_or_a_pipe(tmp_path: Path) -> None:
    pipe, table = tmp_path / "pipe.onnx", tmp_path / "report" / "report.json"
    table.parent.mkdir()
    for each in (pipe, table):
        os.mkfifo(each)
    # Where standard output goes into a file, it is the link to it that would be replaced.
    for taken in (pipe, Path("/dev/null"), Path("/dev/stdout"), Path("/dev/fd/1")):
        with pytest.raises(InputError, match=f"{taken}: expected a file after --json, got a device, a pipe"):
            check_outputs(taken, None)
    with pytest.raises(InputError, match=r"report\.json: expected a file in the folder after --report, got a device"):
        check_outputs(None, table.parent)
    with pytest.raises(InputError, match=r"pipe\.onnx: expected a file after --out, got a device"):
        run("export", "--model", tmp_path, "--out", pipe)
    (tmp_path / "old.json").touch()
    (tmp_path / "link.json").symlink_to("old.json")
    for free in ("new.json", "old.json", "link.json"):
        check_outputs(tmp_path / free, None)


def test_what_was_measured_is_shown_even_if_it_cannot_be_written(arrays: list[str]) -> None:
    result = CliRunner().invoke(app, repeat_options(["evaluate", *arrays, "--json", "/proc/x.json"]))
    assert result.exit_code != 0
    assert "10 genuine and 180 impostor pairs" in result.output


@pytest.mark.parametrize("name", ["data.json", "metrics.jsonl", "model.safetensors", "result.json"])
def test_a_run_is_not_put_over_files_of_others(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(InputError, match=f"expected a new folder, got one that holds {name}; give another --out"):
        RunFolder(tmp_path).check_new()


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/last.safetensors", "checkpoints/good.safetensors", "stages/sam.safetensors", "best.safetensors",
        "best-head.safetensors", "head.safetensors", "failure.txt",
    ],
)  # fmt: skip
def test_a_run_is_not_put_over_what_another_left(tmp_path: Path, name: str) -> None:
    """Removing a run's files keeps its subfolders, whose checkpoint the new run would go on from after --resume."""
    left = tmp_path / name
    left.parent.mkdir(exist_ok=True)
    left.write_text("old")
    with pytest.raises(InputError, match=f"what an earlier run left, {name}; remove it, or give another --out"):
        RunFolder(tmp_path).check_new()
    left.unlink()
    # Empty subfolders and files of others do no harm.
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path).check_new()


def test_draws_never_take_the_place_of_the_manifest_that_is_drawn_from(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path).rename(tmp_path / "identity-disjoint-1.csv")
    before = manifest.read_bytes()
    words = ["split", manifest, "--protocol", "identity-disjoint", "--out"]
    with pytest.raises(InputError, match="expected another folder, a draw would take its place; give another --out"):
        run(*words, tmp_path, "--draws", "2")
    assert manifest.read_bytes() == before
    assert not (tmp_path / "draws.json").exists()
    run(*words, tmp_path, "--draws", "1")


def test_a_split_is_not_forgotten(tmp_path: Path) -> None:
    write_photos(tmp_path / "set", people=4, photos=1)
    table = tmp_path / "set-landmarks.csv"
    words = ["prepare", tmp_path / "set", "--layout", "folders", "--landmarks", table, "--out", tmp_path / "out"]
    run(*words, "--protocol", "identity-disjoint")
    before = (tmp_path / "out" / "images.csv").read_bytes()
    for more, message in (
        ((), "expected a split as it is there, train, val, got none; repeat --protocol"),
        (("--modality", "vis"), "expected photos of the modality that is there, nir, got vis; choose another --out"),
    ):
        with pytest.raises(InputError, match=message):
            run(*words, *more)
    assert (tmp_path / "out" / "images.csv").read_bytes() == before
    run(*words, "--protocol", "identity-disjoint")


def test_crops_as_they_are_are_not_looked_at(tmp_path: Path) -> None:
    words = ["prepare", tmp_path, "--layout", "folders", "--pre-cropped", "--out", tmp_path.parent / "out"]
    with pytest.raises(InputError, match="got --min-eye-distance and --min-sharpness; crops stay as they are"):
        run(*words, "--min-eye-distance", "9", "--min-sharpness", "1")


def test_options_of_numbers_take_several() -> None:
    words = ["evaluate", "--input-mean", "123.7", "116.3", "103.5", "--extrapolate", "1e-6", "1e-8", "--flip"]
    named = ["--input-mean", "123.7", "--input-mean", "116.3", "--input-mean", "103.5"]
    beyond = ["--extrapolate", "1e-6", "--extrapolate", "1e-8"]
    assert repeat_options(words) == ["evaluate", *named, *beyond, "--flip"]


def test_an_option_of_one_value_takes_no_second_and_leaves_arguments_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    known = sorted(RUNTIMES)
    assert repeat_options(["export", "--runtime", *known, "run"])[-2:] == [known[-1], "run"]
    for words, said in (
        (["verify-bundle", "--runtime", "opencv", tmp_path], "expected a bundle with model.json"),
        (["export", "--runtime", "opencv", tmp_path / "run", "--out", tmp_path / "b"], "run: expected a run folder"),
        (["monitor", tmp_path / "log", "--bundle", tmp_path, "--far", "0.1", "0.01"], "unexpected extra argument"),
    ):
        assert status_of(monkeypatch, words) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--model", "--before", "--gallery-model"])
@pytest.mark.parametrize("name", ["recipe.toml", "model.safetensors", "model.json"])
def test_json_never_takes_the_place_of_a_models_file(tmp_path: Path, option: str, name: str) -> None:
    """Neither of the model that is measured nor of those that it is measured with."""
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / name
    file.write_text("kept")
    models = {"--model": tmp_path / "other", "--gallery": "vis"} | {option: tmp_path / "run"}
    given = [str(word) for each in models.items() for word in each]
    with pytest.raises(InputError, match="got one that the command reads|got a part of the bundle"):
        run("evaluate", *given, "--manifest", str(tmp_path / "images.csv"), "--json", str(file))
    assert file.read_text() == "kept"
