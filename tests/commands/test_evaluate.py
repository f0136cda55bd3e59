"""eval_tar_far.py as other programs call it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from arcface_export import give_statistics
from small_faces import write_small_set
from typer.testing import CliRunner

import facexfer
from facexfer.backbones import create_backbone
from facexfer.cli import app
from facexfer.commands.entry import repeat_options
from facexfer.deploy.onnx_export import export_onnx
from facexfer.errors import InputError
from facexfer.eval.verification import tar_at_far

TOOL = Path(__file__).resolve().parents[2] / "tools" / "eval_tar_far.py"
SMALL = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"
LONGER = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=48)"


def run(*words: object) -> str:
    """Run in this process; bad input comes out as the exception that the entry point turns into status 2."""
    result = CliRunner().invoke(app, ["evaluate", *repeat_options(list(map(str, words)))])
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, Path]:
    generator = np.random.default_rng(0)
    paths = {}
    made: dict[str, np.ndarray] = {
        "e": generator.normal(size=(60, 8)).astype(np.float32),
        "l": generator.integers(0, 6, 60),
        "genuine": generator.normal(1, 1, 500),
        "impostor": generator.normal(0, 1, 5000),
    }
    for name, array in made.items():
        paths[name] = tmp_path / f"{name}.npy"
        np.save(paths[name], array)
    return paths


@pytest.mark.slow
def test_the_tool_writes_the_contracts_json(arrays: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, str(TOOL), "--scores", str(arrays["genuine"]), str(arrays["impostor"])]
    done = subprocess.run(
        [*command, "--far", "1e-2", "1e-3", "1e-5", "--json", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert figures["pairs"] == {"genuine": 500, "impostor": 5000}
    expected = tar_at_far(np.load(arrays["genuine"]), np.load(arrays["impostor"]), [1e-2, 1e-3, 1e-5])
    assert [row["tar"] for row in figures["operating_points"]] == [point.tar for point in expected]
    assert [row["supported"] for row in figures["operating_points"]] == [True, True, False]
    assert {"far", "threshold", "achieved_far", "tar", "tar_ci95", "supported"} <= set(figures["operating_points"][0])
    assert figures["operating_points"][2]["smallest_far"] == pytest.approx(2e-4)
    assert "the smallest FAR it supports is 0.0002" in " ".join(done.stdout.split())


def test_embeddings_alone_and_against_a_gallery(arrays: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    run("--embeddings", arrays["e"], "--labels", arrays["l"], "--far", "0.1", "--json", out)
    assert sum(json.loads(out.read_text())["pairs"].values()) == 60 * 59 // 2
    for name in ("e", "l"):
        np.save(tmp_path / f"known-{name}.npy", np.load(arrays[name])[:50])
    gallery = ["--gallery-embeddings", tmp_path / "known-e.npy", "--gallery-labels", tmp_path / "known-l.npy"]
    run("--embeddings", arrays["e"], "--labels", arrays["l"], *gallery, "--far", "0.1", "--json", out)
    assert sum(json.loads(out.read_text())["pairs"].values()) == 60 * 50


def test_what_is_missing_or_no_array_is_named(arrays: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("abc")
    for words, message in (
        (("--embeddings", arrays["e"]), "expected labels with embeddings, got none; give --labels"),
        (
            ("--embeddings", arrays["e"], "--labels", arrays["l"], "--gallery-labels", arrays["l"]),
            "expected the gallery's embeddings with its labels, got none; give --gallery-embeddings",
        ),
        (
            ("--embeddings", arrays["e"], "--labels", arrays["l"], "--gallery-embeddings", arrays["e"]),
            "expected labels with the gallery's embeddings, got none; give --gallery-labels",
        ),
        (
            ("--embeddings", tmp_path / "text.npy", "--labels", arrays["l"]),
            r"text.npy: expected a .npy file of numbers or text, got another kind; save it with numpy.save$",
        ),
    ):
        with pytest.raises(InputError, match=message):
            run(*words)


def test_figures_by_column_are_in_the_table(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path, val=4, images=4)
    rows = manifest.read_text().splitlines()
    cameras = ["camera", *("[door]" if number % 2 else "hall" for number in range(len(rows) - 1))]
    manifest.write_text("".join(f"{row},{camera}\n" for row, camera in zip(rows, cameras, strict=True)))
    torch.manual_seed(0)
    network = create_backbone("mobilefacenet_slim")
    found = facexfer.evaluate(network, manifest, split="val", probe="nir", fars=[0.5, 0.2], slice_by=["camera"])
    parts = json.loads(found.to_json())["slices"]["camera"]
    _, said = found.table().split("by camera, at the thresholds above:\n")
    lines = [line.split() for line in said.splitlines()[2:]]
    wanted = [
        [part["value"], str(part["images"]), far, f"{100 * point['tar']:.2f}"]
        for part in parts
        for far, point in zip(("0.5", "0.2"), part["operating_points"], strict=True)
    ]
    assert [line[:4] for line in lines] == wanted


@pytest.mark.slow
def test_a_run_and_its_export_give_the_same_tar(tmp_path: Path) -> None:
    from facexfer.engine.train import train
    from facexfer.recipe import parse_recipe

    manifest = write_small_set(tmp_path)
    values = {
        "source": {"backbone": "mobilefacenet_slim"},
        "data": {"manifest": str(manifest)},
        "method": {"name": "l2"},
        "optimizer": {"iterations": 2, "batch_size": 8},
        "evaluation": {"fars": [0.1]},
        "runtime": {"accelerator": "cpu"},
    }
    train(parse_recipe(values, "test"), tmp_path / "run", resume=False)
    exported = CliRunner().invoke(
        app, ["export", "--model", str(tmp_path / "run"), "--out", str(tmp_path / "m.onnx"), "--opset", "17"]
    )
    assert exported.exit_code == 0, exported.output
    figures = []
    run_files = [tmp_path / "run" / name for name in ("model.safetensors", "checkpoints/last.safetensors")]
    for model in (tmp_path / "run", tmp_path / "m.onnx", *run_files):
        options = ["--manifest", manifest, "--split", "val", "--probe", "nir", "--gallery", "vis", "--far", "0.1"]
        run("--model", model, *options, "--json", tmp_path / "f.json")
        figures.append(json.loads((tmp_path / "f.json").read_text()))
    for each in figures:
        assert each["operating_points"][0]["tar"] == figures[0]["operating_points"][0]["tar"]
        assert each["pairs"] == {"genuine": 36, "impostor": 96}


def test_scores_of_other_toolkits(arrays: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    run("--scores", arrays["genuine"], arrays["impostor"], "--far", "1e-2", "--json", out, "--report", tmp_path / "r")
    similar = json.loads(out.read_text())
    assert json.loads((tmp_path / "r" / "report.json").read_text()) == similar
    turned = [tmp_path / f"{name}_distances.npy" for name in ("genuine", "impostor")]
    for name, path in zip(("genuine", "impostor"), turned, strict=True):
        np.save(path, 10 - np.load(arrays[name]))
    distant = tmp_path / "distances.json"
    run("--scores", *turned, "--distances", "--far", "1e-2", "--json", distant)
    figures = json.loads(distant.read_text())
    assert figures["operating_points"][0]["tar"] == similar["operating_points"][0]["tar"]
    threshold = similar["operating_points"][0]["threshold"]
    assert figures["operating_points"][0]["threshold"] == pytest.approx(10 - threshold)
    with pytest.raises(InputError, match="run it with --distances"):
        run("--scores", *turned)
    # The threshold that was chosen there, applied here, on the distances that it was chosen for.
    run("--scores", *turned, "--distances", "--thresholds", distant, "--json", out)
    (again,) = json.loads(out.read_text())["thresholds_from_elsewhere"]
    assert again["tar"] == figures["operating_points"][0]["tar"]
    assert again["chosen_for_far"] == 0.01


def test_idle_options_are_refused(arrays: dict[str, Path], tmp_path: Path) -> None:
    vectors = ["--embeddings", arrays["e"], "--labels", arrays["l"]]
    scores = ["--scores", arrays["genuine"], arrays["impostor"]]
    for given, idle in (
        (vectors, ["--distances"]), (vectors, ["--split", "val"]), (vectors, ["--backbone", "mobilefacenet"]),
        (vectors, ["--no-pictures"]), (scores, ["--labels", arrays["l"]]), (scores, ["--identify"]),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"with {idle[0]}.*leave {idle[0]} out"):
            run(*given, *idle)


def test_thresholds_of_another_kind_of_score_are_refused(arrays: dict[str, Path], tmp_path: Path) -> None:
    scores = ["--scores", arrays["genuine"], arrays["impostor"]]
    run(*scores, "--json", tmp_path / "similarities.json")
    turned = [tmp_path / f"{name}_turned.npy" for name in ("genuine", "impostor")]
    for name, path in zip(("genuine", "impostor"), turned, strict=True):
        np.save(path, 10 - np.load(arrays[name]))
    with pytest.raises(InputError, match="expected thresholds of distances, got thresholds of similarities"):
        run("--scores", *turned, "--distances", "--thresholds", tmp_path / "similarities.json")
    (tmp_path / "nan.json").write_text('{"operating_points": [{"far": 0.1, "threshold": NaN}]}')
    with pytest.raises(InputError, match="got NaN"):
        run(*scores, "--thresholds", tmp_path / "nan.json")
    points = [{"far": far, "threshold": 0.5} for far in (0, 0.01)]
    (tmp_path / "zero.json").write_text(json.dumps({"operating_points": points}))
    with pytest.raises(InputError, match="expected FARs above 0 and at most 1, got 0; write it"):
        run(*scores, "--thresholds", tmp_path / "zero.json")


def test_outputs_that_cannot_be_written_are_refused_before_the_work(arrays: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    scores = ["--scores", arrays["genuine"], arrays["impostor"]]
    with pytest.raises(InputError, match="expected a file after --json, got a folder"):
        run(*scores, "--json", tmp_path)
    with pytest.raises(InputError, match="expected a folder after --report, got a file"):
        run(*scores, "--report", tmp_path / "file")


def test_a_target_that_accepts_everybody(arrays: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    run("--embeddings", arrays["e"], "--labels", arrays["l"], "--far", "1", "--identify", "--json", out)
    figures = json.loads(out.read_text())
    assert figures["operating_points"][0]["tar"] == 1
    assert [point["far"] for point in figures["identification"]["open_set"]] == [0.1, 1.0]


def test_what_is_extrapolated_is_kept_apart(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(60, 1, 32))
    embeddings = (centres + 1.4 * generator.normal(size=(60, 6, 32))).reshape(-1, 32).astype(np.float32)
    np.save(tmp_path / "e.npy", embeddings)
    np.save(tmp_path / "l.npy", np.repeat(np.arange(60), 6))
    given = ["--embeddings", tmp_path / "e.npy", "--labels", tmp_path / "l.npy", "--far", "1e-2"]
    out = tmp_path / "figures.json"
    plain = run(*given, "--json", out)
    before = json.loads(out.read_text())
    shown = run(*given, "--extrapolate", "1e-6", "--extrapolate", "1e-9", "--json", out, "--report", tmp_path / "r")
    figures = json.loads(out.read_text())
    assert shown.startswith(plain.rstrip())
    assert "extrapolated from the 637 highest impostor scores, not measured:" in shown
    near, far = figures["extrapolated"]["points"]
    assert figures["extrapolated"]["measured"] is False
    assert near["far_ci95"][0] < 1e-6 < near["far_ci95"][1]
    assert near["threshold"] > before["operating_points"][0]["threshold"]
    assert 0 <= near["tar_measured_there"] <= before["operating_points"][0]["tar"]
    assert far["threshold"] is None
    assert "validated to 30 times" in far["refused"]
    assert {name: value for name, value in figures.items() if name != "extrapolated"} == before
    page = (tmp_path / "r" / "report.html").read_text()
    assert "None of these rates was measured" in page
    assert page.count("1e-06, extrapolated") == 1
    with pytest.raises(InputError, match=r"expected FARs to extrapolate below 1\.6e-05, .*, got 0\.001"):
        run(*given, "--extrapolate", "1e-3")


def test_embeddings_are_searched_and_averaged(arrays: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    given = ["--embeddings", arrays["e"], "--labels", arrays["l"], "--far", "0.1"]
    run(*given, "--identify", "--templates", "--json", out)
    figures = json.loads(out.read_text())
    assert figures["identification"]["enrolled"] == 6
    assert figures["comparison"] == "embeddings, templates"


@pytest.mark.slow
def test_a_model_with_every_question(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path / "set")
    rows = manifest.read_text().splitlines()
    manifest.write_text("\n".join([f"{rows[0]},session", *(f"{row},{row[-1]}" for row in rows[1:])]) + "\n")
    failures = tmp_path / "failures.csv"
    failures.write_text("path,identity,modality,split,reason\nx,p4,nir,val,no face\ny,p0,nir,train,no face\n")
    weights = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        export_onnx(give_statistics(create_backbone(SMALL)), tmp_path / f"{seed}.onnx", opset=17)
        weights.append(tmp_path / f"{seed}.onnx")
    out = tmp_path / "figures.json"
    common = ["--manifest", manifest, "--split", "val", "--far", "0.1", "--json", out]
    cross = ["--probe", "nir", "--gallery", "vis", "--identify", "--flip", "--slice-by", "session"]
    run(
        "--model", weights[0], *common, *cross, "--before", weights[1], "--failures", failures,
        "--report", tmp_path / "r",
    )  # fmt: skip
    figures = json.loads(out.read_text())
    assert figures["with_failures"]["probe_failures"] == 1
    assert figures["with_failures"]["pairs"]["genuine"] == figures["pairs"]["genuine"] + 4
    assert [part["value"] for part in figures["slices"]["session"]] == ["0", "1", "2", "3"]
    assert len(figures["before_after"]["differences"]) == len(figures["visible"]["differences"]) == 1
    assert figures["before_after"]["old_gallery_new_probe"][0]["supported"]
    assert figures["model"]["name"] == "0.onnx, with flip"
    page = (tmp_path / "r" / "report.html").read_text()
    assert page.count("data:image/png") == 2 * 24
    mixed = figures["before_after"]["old_gallery_new_probe"]
    run("--model", weights[0], *common, *cross[:4], "--flip", "--gallery-model", weights[1])
    figures = json.loads(out.read_text())
    assert figures["operating_points"] == mixed
    assert figures["gallery_model"]["name"] == "1.onnx, with flip"
    torch.manual_seed(2)
    export_onnx(give_statistics(create_backbone(LONGER)), tmp_path / "longer.onnx", opset=17)
    with pytest.raises(InputError, match="expected embeddings of one length, got 32 numbers for probes and 48 for the"):
        run("--model", weights[0], *common, *cross[:4], "--gallery-model", tmp_path / "longer.onnx")
    run("--model", weights[0], *common, "--probe", "nir", "--no-pictures", "--report", tmp_path / "r")
    page = (tmp_path / "r" / "report.html").read_text()
    assert "data:image/png" not in page
    assert "false reject, score" in page
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("2 1\np4 0 1\np4 0 p5 0\np5 1 2\np6 1 p5 3\n")
    run("--model", weights[0], *common, "--probe", "nir", "--pairs", pairs)
    assert len(json.loads(out.read_text())["folds"]["folds"]) == 2
    pairs.write_text("1 1\np4 0 1\np4 0 p5 0\n")
    assert "the list has one fold" in run("--model", weights[0], *common, "--probe", "nir", "--pairs", pairs)
    assert "folds" not in json.loads(out.read_text())
    nobody = manifest.with_name("nobody.csv")
    names = [row.split(",")[0] for row in rows[1:] if row.startswith("nir/")]
    nobody.write_text("\n".join(["path,identity,modality,split", *(f"{name},{name},nir,val" for name in names)]) + "\n")
    listed = tmp_path / "pairs.csv"
    lines = [f"{names[4 * i]},{names[4 * i + 1 + i % 2 * 3]},{1 - i % 2},{i // 2 % 2}" for i in range(6)]
    listed.write_text("\n".join(["first,second,same,fold", *lines]).replace("nir/", "../set/nir/") + "\n")
    alone = ["--model", weights[0], "--manifest", nobody, "--far", "0.5", "--pairs", listed]
    run(*alone, "--json", out, "--report", tmp_path / "r")
    figures = json.loads(out.read_text())
    assert (figures["comparison"], figures["pairs"]) == ("listed pairs", {"genuine": 3, "impostor": 3})
    assert len(figures["folds"]["folds"]) == 2
    assert (tmp_path / "r" / "report.html").read_text().count("data:image/png") == 2 * 6
    with pytest.raises(InputError, match="several images for --identify, identities are known only from the pair list"):
        run(*alone, "--identify")
    with pytest.raises(InputError, match="expected identities with several images for --gallery or --before"):
        run(*alone, "--gallery", "nir")


def test_options_that_would_do_nothing_are_refused(arrays: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected --model or --embeddings with --extrapolate, got --scores"):
        run("--scores", arrays["genuine"], arrays["impostor"], "--extrapolate", "1e-9")
    given = ["--model", "new.onnx", "--manifest", "images.csv"]
    with pytest.raises(InputError, match="expected --gallery with --gallery-model; leave --gallery-model out"):
        run(*given, "--gallery-model", "old.onnx")
    with pytest.raises(InputError, match="expected one of --gallery-model and --before, got both"):
        run(*given, "--gallery", "vis", "--gallery-model", "old.onnx", "--before", "old.onnx")
    with pytest.raises(InputError, match="expected --model with --before, got --embeddings"):
        run("--embeddings", arrays["e"], "--labels", arrays["l"], "--before", "x.onnx")
    with pytest.raises(InputError, match="expected --model or --embeddings with --identify, got --scores"):
        run("--scores", arrays["genuine"], arrays["impostor"], "--identify")
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(InputError, match=r"no\.json: expected the JSON of an evaluation"):
        run("--scores", arrays["genuine"], arrays["impostor"], "--thresholds", tmp_path / "no.json")
    manifest = write_small_set(tmp_path / "set")
    export_onnx(give_statistics(create_backbone(SMALL)), tmp_path / "m.onnx", opset=17)
    with pytest.raises(InputError, match="to slice by, got 'hat'; it has only the required ones"):
        run("--model", tmp_path / "m.onnx", "--manifest", manifest, "--slice-by", "hat")


def test_bad_input_is_one_clear_line(arrays: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of --model, --embeddings, --scores, got none"):
        run()
    with pytest.raises(InputError, match="got --embeddings and --scores"):
        run("--embeddings", arrays["e"], "--scores", arrays["genuine"], arrays["impostor"])
    with pytest.raises(InputError, match="expected labels with embeddings"):
        run("--embeddings", arrays["e"])
    with pytest.raises(InputError, match="expected --manifest with --model"):
        run("--model", tmp_path)
    with pytest.raises(InputError, match="expected a finished run"):
        run("--model", tmp_path, "--manifest", write_small_set(tmp_path / "s"))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"objects\.npy: expected a \.npy file"):
        run("--embeddings", tmp_path / "objects.npy", "--labels", arrays["l"])
