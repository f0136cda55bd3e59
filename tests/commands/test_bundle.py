"""A run becomes a bundle that passes the gate, is verified again, and matches photos."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import run
from onnxruntime.quantization import quantize_dynamic
from recipe_files import write_recipe
from shared_data import shared
from small_faces import write_small_set

import facexfer
from facexfer.data.images import read_crop
from facexfer.data.manifest import read_manifest, write_manifest
from facexfer.deploy import gate
from facexfer.deploy.contract import Contract, read_contract
from facexfer.deploy.matching import Matcher, list_people
from facexfer.deploy.runtime_files import open_runtime
from facexfer.deploy.score_summary import measured_scores
from facexfer.errors import DivergedError, InputError, RunError
from facexfer.eval.paired import Difference
from facexfer.eval.unit_length import unit_length
from facexfer.measure.embedder import load
from facexfer.recipe import PairsSection, Recipe, parse_recipe, read_recipe
from facexfer.runs.folder import RunFolder


def recipe(manifest: Path, **source: str) -> Recipe:
    values = {
        "source": {"backbone": "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)", **source},
        "data": {"manifest": str(manifest)},
        "method": {"name": "l2"},
        "optimizer": {"iterations": 2, "batch_size": 8},
        "evaluation": {"fars": [0.2, 0.1], "untouched": False, "pairs": [{"gallery": "vis", "probe": "nir"}]},
        "runtime": {"accelerator": "cpu"},
    }
    return parse_recipe(values, "test")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from facexfer.engine.train import train

    folder = tmp_path_factory.mktemp("bundle")
    train(recipe(write_small_set(folder)), folder / "run", resume=False)
    return folder


@pytest.fixture(scope="module")
def bundle(trained: Path) -> Path:
    # The older exporter is ten times as fast; the newer one has its own tests.
    words = ("--precision", "fp16", "fp32", "int8-dynamic", "--max-loss", "1", "--opset", "17")
    shown = run("export", trained / "run", "--out", trained / "b", *words)
    times = ", ".join(rf"CPU [\d.]+ ms for {batch}{on}" for on in ("", " on 1 thread") for batch in (1, 32))
    assert re.findall(rf"^(\S+): [\d.]+ MB; {times};", shown, re.MULTILINE) == [
        "fp16",
        "fp32",
        "int8-dynamic",
    ]
    assert "FAR 0.1: TAR" in shown
    assert "it decides at FAR 0.2, and few pairs tell where: FAR 0.2 breaks the rule of t" in shown
    return trained / "b"


@pytest.mark.slow
def test_a_bundle_says_everything(bundle: Path, trained: Path) -> None:
    contract = json.loads((bundle / "model.json").read_text())
    points = contract["evaluation"]["operating_points"]
    assert all(point["supported"] and len(point["tar_ci95"]) == 2 for point in points)
    assert contract["operating_point"] == {"far": 0.2, "threshold": points[0]["threshold"]}
    assert contract["pairs"] == {"gallery": "vis", "probe": "nir"}
    assert contract["recipe"]["source"]["backbone"] == "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"
    assert (contract["source"], contract["licence"], contract["embedding_size"]) == ("", "none", 32)
    assert len(contract["evaluation"]["data"]) == 64
    assert [row["precision"] for row in contract["gate"]] == ["fp16", "fp32", "int8-dynamic"]
    assert all(20 < row["peak_megabytes"] < 2000 for row in contract["gate"])
    assert (bundle / "report" / "report.html").is_file()
    metadata = {each.key: json.loads(each.value) for each in onnx.load(bundle / "model.onnx").metadata_props}
    assert metadata["preprocessing"] == contract["preprocessing"]
    assert metadata["preprocessing"]["channels"] == "RGB"


@pytest.mark.slow
def test_a_far_of_1_has_no_threshold(bundle: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    file = RunFolder(tmp_path / "run").recipe_file

    def export(*fars: float) -> dict[str, Any]:
        evaluation = recipe(trained / "images.csv").evaluation.model_copy(update={"fars": fars})
        file.unlink()
        write_recipe(
            read_recipe(RunFolder(trained / "run").recipe_file).model_copy(update={"evaluation": evaluation}), file
        )
        run("export", tmp_path / "run", "--out", tmp_path / "b", "--opset", "17")

        def no_number(name: str) -> None:
            raise AssertionError(name)

        content: dict[str, Any] = json.loads((tmp_path / "b" / "model.json").read_text(), parse_constant=no_number)
        return content

    with pytest.raises(InputError, match=r"run: expected a FAR below 1 in evaluation\.fars, got 1 alone; add --far"):
        export(1.0)
    content = export(1.0, 0.2)
    assert [point["far"] for point in content["evaluation"]["operating_points"]] == [0.2]
    assert [point["far"] for point in content["scores"]["points"]] == [0.2]
    # Bundles of older versions have it.
    everybody = {"far": 1.0, "supported": True, "tar": 1.0, "threshold": -float("inf")}
    content["evaluation"]["operating_points"].append(everybody)
    content["scores"]["points"].append({**content["scores"]["points"][0], "far": 1.0})
    contract = Contract(tmp_path / "b", content)
    assert list(contract.thresholds) == [0.2]
    with pytest.raises(InputError, match=r"expected a FAR that the bundle has a threshold for \(0\.2\), got 1"):
        measured_scores(contract, 1.0)


@pytest.mark.slow
def test_the_contract_of_a_bundle_has_no_line_that_loads_it_as_weights(bundle: Path) -> None:
    shown = run("inspect", bundle / "model.json")
    assert "a bundle, fp16" in shown
    assert "load with" not in shown


@pytest.mark.slow
def test_the_lines_of_the_readme_run_and_agree_with_match(bundle: Path, trained: Path, tmp_path: Path) -> None:
    readme = (bundle / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(code.splitlines()) == 5
    first, second = sorted((trained / "nir" / "p0").iterdir())[:2]
    code = code.replace('"a.jpg", "b.jpg"', f'"{first}", "{second}"').replace("model.onnx", str(bundle / "model.onnx"))
    forbidden = "import sys; assert not {'torch', 'facexfer', 'onnx', 'insightface'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{forbidden}"], capture_output=True, text=True, check=True, timeout=60
    )
    shown = run("match", first, second, "--bundle", bundle)
    score, threshold = re.search(r"score (-?[\d.]+), threshold (-?[\d.]+) \(FAR 0\.2\)", shown).groups()
    assert float(done.stdout) == pytest.approx(float(score), abs=2e-4)
    # Rounded up: by the threshold's own pair nobody is accepted.
    (in_readme,) = map(float, re.findall(r"the same person if above (-?[\d.]+)", readme))
    exact = read_contract(bundle).content["operating_point"]["threshold"]
    assert exact <= in_readme <= exact + 1e-6
    assert float(threshold) == pytest.approx(exact, abs=5.1e-5)
    assert "threshold" in run("match", first, second, "--bundle", bundle, "--far", "0.2")
    with pytest.raises(InputError, match=r"a FAR that the bundle has a threshold for \(0\.2, 0\.1\), got 0\.5"):
        run("match", first, second, "--bundle", bundle, "--far", "0.5")


@pytest.mark.slow
def test_enrolled_people_are_found(bundle: Path, trained: Path, tmp_path: Path) -> None:
    people = trained / "nir"
    probe = sorted((people / "p2").iterdir())[1]
    said = run("match", "--bundle", bundle, "--enrol", people, "--identify", probe)
    count = len(list(people.iterdir()))
    assert said.rstrip().endswith(f" (FAR 0.2 for each of {count} people): p2")
    # A stranger is compared with all of them.
    assert f"for one of {count} people in up to {min(100, 20 * count)} % of attempts" in said
    with pytest.raises(InputError, match="expected a subfolder of photos for each person"):
        run("match", "--bundle", bundle, "--enrol", tmp_path, "--identify", probe)
    with pytest.raises(InputError, match="expected two photos, or --enrol FOLDER with --identify PHOTO"):
        run("match", probe, "--bundle", bundle)


@pytest.mark.slow
def test_a_bundle_is_measured_again(bundle: Path, trained: Path, tmp_path: Path) -> None:
    shown = run("verify-bundle", bundle)
    assert "CPU" in shown
    assert "as it was measured" in shown
    assert "largest embedding difference" in run("verify-bundle", bundle, "--run", trained / "run")
    moved = tmp_path / "b"
    moved.mkdir()
    for name in ("model.json", "model.onnx"):
        (moved / name).write_bytes((bundle / name).read_bytes())
    content = json.loads((moved / "model.json").read_text())
    content["evaluation"]["operating_points"][0]["tar"] = 0.0
    (moved / "model.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"expected TAR 0\.00 % at FAR 0\.2, got .* do not use it here"):
        run("verify-bundle", moved, "--manifest", trained / "images.csv")
    content = json.loads((bundle / "model.json").read_text())
    for point in (content["evaluation"]["operating_points"][0], content["operating_point"]):
        point["threshold"] = -1
    (moved / "model.json").write_text(json.dumps(content))
    for words in ((), ("--run", trained / "run")):
        with pytest.raises(
            RunError, match=r"expected threshold -1\.000000 of model\.json at FAR 0\.2, got .* do not use"
        ):
            run("verify-bundle", moved, "--manifest", trained / "images.csv", *words)
    content = json.loads((bundle / "model.json").read_text())
    content["evaluation"]["operating_points"][0]["threshold"] -= 0.03
    (moved / "model.json").write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"got a damaged one: operating_point\.threshold: expected .*, the threshold of"
    ):
        run("verify-bundle", moved)
    content = json.loads((bundle / "model.json").read_text())
    content["recipe"]["data"]["manifest"] = "absent.csv"
    (moved / "model.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"absent\.csv: expected the images that the bundle was measured on"):
        run("verify-bundle", moved)
    (moved / "model.onnx").write_bytes(b"other")
    with pytest.raises(RunError, match="its SHA-256 differs"):
        run("verify-bundle", moved)


@pytest.mark.slow
def test_a_file_without_a_hash_is_reported_and_used(bundle: Path, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "b"
    shutil.copytree(bundle, copy)
    content = json.loads((copy / "model.json").read_text())
    del content["sha256"]
    (copy / "model.json").write_text(json.dumps(content))
    photo = sorted((trained / "nir" / "p0").iterdir())[0]
    line = f"not checked: model.onnx of {copy}, whose SHA-256 the bundle does not record"
    for words in (("match", photo, photo, "--bundle"), ("inspect",), ("verify-bundle",)):
        assert run(*words, copy).count(line) == 1
        assert "not checked" not in run(*words, bundle)
    assert run("inspect", copy / "model.json").count(line) == 1


@pytest.mark.slow
def test_only_a_file_of_the_bundle_is_recommended(bundle: Path) -> None:
    recommended = json.loads((bundle / "model.json").read_text())["recommended"]
    assert list(recommended["milliseconds_of_all"]) == ["onnxruntime:fp16"]
    assert (recommended["runtime"], recommended["precision"]) == ("onnxruntime", "fp16")


@pytest.mark.slow
def test_a_bundle_is_not_measured_against_itself(bundle: Path, trained: Path, tmp_path: Path) -> None:
    for other in (bundle, bundle / "model.onnx", trained / "run" / "model.safetensors", tmp_path / "absent"):
        with pytest.raises(InputError, match=rf"{other.name}: expected the folder of the run .* check --run"):
            run("verify-bundle", bundle, "--run", other)
    shutil.copyfile(trained / "run" / "recipe.toml", tmp_path / "recipe.toml")
    with pytest.raises(InputError, match=r"expected a finished run with model\.safetensors, found none"):
        run("verify-bundle", bundle, "--run", tmp_path)


@pytest.mark.slow
def test_every_precision_must_pass(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gate.TOLERANCES, "int8-dynamic", gate.Tolerance(1e-6, 0.01))
    message = r"expected int8-dynamic embeddings within 1e-06 .*; no bundle was written: leave int8-dynamic out of .* "
    message += r"such as openvino:int8; --max-loss allows a loss of TAR alone"
    with pytest.raises(RunError, match=message) as got:
        run("export", trained / "run", "--out", trained / "c", "--precision", "fp32", "--precision", "int8-dynamic",
            "--opset", 17)  # fmt: skip
    assert "fp32" not in str(got.value)
    assert not (trained / "c").exists()
    assert not list(trained.glob(".c*"))
    assert len(gate.GateRow("fp32", 1.0, (), float("nan"), (), gate.TOLERANCES["fp32"], 1.0).problems) == 1


def test_a_file_that_loses_exactly_what_is_allowed_passes() -> None:
    allowed = gate.TOLERANCES["int8"]
    for hits in range(1000, 1201):
        first, second = hits / 1200, (hits - 12) / 1200
        difference = Difference(1e-3, first, second, second - first, (0.0, 0.0), 1.0)
        assert gate.GateRow("int8", 1.0, (), 0.1, (difference,), allowed, 1.0).problems == ()
    more = Difference(1e-3, 1.0, 1187 / 1200, -13 / 1200, (0.0, 0.0), 1.0)
    refused = gate.GateRow("int8", 1.0, (), 0.1, (more,), allowed, 1.0)
    assert (len(refused.problems), refused.embeds_otherwise) == (1, False)


@pytest.mark.slow
def test_the_people_whom_the_run_held_out_are_measured_and_no_others(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path, train=12, val=4)
    settings = recipe(manifest)
    data = settings.data.model_copy(update={"folds": 3, "fold": 1})
    facexfer.train(settings.model_copy(update={"data": data}), tmp_path / "run")
    run("export", tmp_path / "run", "--out", tmp_path / "b", "--opset", "17")
    evaluation = read_contract(tmp_path / "b").content["evaluation"]
    # Four of the twelve, each with 4 x 4 pairs but for those of one shot.
    assert evaluation["pairs"]["genuine"] == 4 * 12
    run("verify-bundle", tmp_path / "b")
    images = read_manifest(manifest).images
    write_manifest(manifest, [image for image in images if image.path.name != "3.png"])
    with pytest.raises(InputError, match="run: expected the files that the run was started with, validation changed"):
        facexfer.export(tmp_path / "run", tmp_path / "other")


@pytest.mark.slow
def test_the_difference_is_that_of_both_sides(bundle: Path, trained: Path) -> None:
    from facexfer.data.manifest import read_manifest
    from facexfer.measure.embedder import load
    from facexfer.measure.pair_sets import compare

    images = read_manifest(trained / "images.csv").select(split="val")
    first = compare(load(trained / "run"), images, "nir", "vis")
    second = compare(load(trained / "run"), images, "nir", "vis")
    assert gate.largest_distance(first, second) == 0
    second.gallery.embeddings[3] *= -1
    assert gate.largest_distance(first, second) == pytest.approx(2)
    data = gate.GateData(images, PairsSection(probe="nir", gallery="vis"), [0.1])
    row, _ = gate.measure("fp16", bundle / "model.onnx", first, data, gate.TOLERANCES["fp16"])
    assert row.problems == ()


@pytest.mark.slow
def test_a_fixed_batch_an_old_opset_and_the_wanted_far(trained: Path) -> None:
    run("export", trained / "run", "--out", trained / "f", "--batch", 3, "--opset", 13, "--far", "0.2")
    proto = onnx.load(trained / "f" / "model.onnx")
    assert proto.opset_import[0].version == 13
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    assert read_contract(trained / "f").far == 0.2
    readme = (trained / "f" / "README.md").read_text()
    assert "np.repeat(crop, 3, 0)" in readme
    first = sorted((trained / "nir" / "p0").iterdir())[0]
    assert run("match", first, first, "--bundle", trained / "f").startswith("score 1.0000")

    from facexfer.engine.train import train

    train(recipe(trained / "images.csv", weights=str(trained / "f" / "model.onnx")), trained / "again")
    assert load(trained / "again").embed(np.zeros((5, 112, 112, 3), np.uint8)).shape == (5, 32)


@pytest.fixture(scope="module")
def two_networks(trained: Path) -> Path:
    """A bundle whose gallery is embedded by another network, from weights of its own."""
    import torch

    from facexfer.backbones import create_backbone

    torch.manual_seed(1)
    name = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"
    torch.save(create_backbone(name).state_dict(), trained / "old.pt")
    words = ("--gallery-model", trained / "old.pt", "--gallery-backbone", name, "--opset", "17", "--max-loss", "1")
    run("export", trained / "run", "--out", trained / "two", *words, "--runtime", "opencv")
    return trained / "two"


@pytest.mark.slow
def test_a_gallery_keeps_its_own_network(two_networks: Path, trained: Path, tmp_path: Path) -> None:
    contract = json.loads((two_networks / "model.json").read_text())
    assert contract["gallery"]["file"] == "gallery.onnx"
    assert contract["pairs"] == {"gallery": "vis", "probe": "nir"}
    said = contract["evaluation"]["operating_points"]
    for own in (None, two_networks / "gallery.onnx"):
        found = facexfer.evaluate(
            two_networks,
            trained / "images.csv",
            split="val",
            probe="nir",
            gallery="vis",
            fars=[0.2, 0.1],
            gallery_model=own,
        )
        assert [point.tar for point in found.points] == pytest.approx([point["tar"] for point in said])
        thresholds = [point.threshold for point in found.points]
        assert thresholds == pytest.approx([point["threshold"] for point in said], abs=1e-5)
    assert "as it was measured" in run("verify-bundle", two_networks)
    assert "largest embedding difference" in run(
        "verify-bundle", two_networks, "--run", trained / "run", "--runtime", "opencv"
    )
    with pytest.raises(InputError, match="expected a folder with --precision"):
        run("export", trained / "run", "--out", tmp_path / "a.onnx", "--gallery-model", trained / "run")
    with pytest.raises(InputError, match="or weights with --gallery-backbone NAME"):
        run("export", trained / "run", "--out", tmp_path / "a", "--gallery-model", trained / "old.pt")
    with pytest.raises(InputError, match="expected --gallery-model with --gallery-backbone mobilefacenet, got none"):
        run("export", trained / "run", "--out", tmp_path / "a", "--gallery-backbone", "mobilefacenet")
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_a_gallerys_run_that_failed_is_exported_only_on_request(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "failed")
    RunFolder(tmp_path / "failed").save_failure("it broke")
    words = ("export", trained / "run", "--out", tmp_path / "b", "--gallery-model", tmp_path / "failed")
    with pytest.raises(DivergedError, match="failed: this run failed: it broke; train again, or give --even-if-failed"):
        run(*words)
    assert not (tmp_path / "b").exists()
    run(*words, "--opset", "17", "--max-loss", "1", "--even-if-failed")
    assert (tmp_path / "b" / "gallery.onnx").is_file()


@pytest.mark.slow
def test_the_enrolled_photo_goes_through_the_gallerys_network(two_networks: Path, trained: Path) -> None:
    known, seen = (sorted((trained / spectrum / "p0").iterdir())[0] for spectrum in ("vis", "nir"))
    crops = [read_crop(path, (112, 112))[None] for path in (known, seen)]
    units = [
        unit_length(load(two_networks / name).embed(crop))[0]
        for name, crop in zip(("gallery.onnx", "model.onnx"), crops, strict=True)
    ]
    shown = run("match", known, seen, "--bundle", two_networks)
    assert float(shown.split()[1].rstrip(",")) == pytest.approx(float(units[0] @ units[1]), abs=1e-4)
    matcher = Matcher(two_networks, None)
    enrolled = matcher.enrol(list_people(trained / "vis"), trained / "vis").people
    mean = unit_length(
        load(two_networks / "gallery.onnx").embed(
            np.stack([read_crop(path, (112, 112)) for path in sorted((trained / "vis" / "p0").iterdir())])
        )
    ).sum(axis=0)
    assert float(enrolled["p0"] @ mean / np.linalg.norm(mean)) == pytest.approx(1, abs=1e-5)
    # The README's two lines embed the enrolled photo so too.
    readme = (two_networks / "README.md").read_text()
    first, second, *_ = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    code = first.replace('"a.jpg", "b.jpg"', f'"{known}", "{seen}"') + second
    code = code.replace('"gallery.onnx"', f'"{two_networks / "gallery.onnx"}"')
    code = code.replace('"model.onnx"', f'"{two_networks / "model.onnx"}"')
    code += "print(a @ b / np.linalg.norm(a) / np.linalg.norm(b))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout.split()[-1]) == pytest.approx(float(units[0] @ units[1]), abs=2e-4)


@pytest.mark.slow
def test_the_mirrored_crop_goes_into_every_file(trained: Path, tmp_path: Path) -> None:
    words = ("--flip", "--gallery-model", trained / "run", "--opset", "17", "--max-loss", "1", "--runtime", "opencv")
    run("export", trained / "run", "--out", tmp_path / "both", *words)
    bundle = tmp_path / "both"
    contract = json.loads((bundle / "model.json").read_text())
    assert contract["preprocessing"]["inside"]["flip"]
    assert contract["gallery"]["preprocessing"]["inside"]["flip"]
    assert max(row["difference"] for row in (*contract["gate"], contract["runtimes"][0]["gate"])) < 1e-4
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    expected = load(trained / "run", flip=True).embed(crops)
    for embedder in (load(bundle), load(bundle / "gallery.onnx"), open_runtime(bundle, "opencv")):
        np.testing.assert_allclose(embedder.embed(crops), expected, atol=1e-5 * np.abs(expected).max())
    found = facexfer.evaluate(
        trained / "run", trained / "images.csv", split="val", probe="nir", gallery="vis", fars=[0.2, 0.1], flip=True
    )
    said = contract["evaluation"]["operating_points"]
    assert [point.tar for point in found.points] == pytest.approx([point["tar"] for point in said])
    for which in ((), ("--runtime", "opencv")):
        assert "largest embedding difference" in run("verify-bundle", bundle, "--run", trained / "run", *which)
    readme = " ".join((bundle / "README.md").read_text().split())
    assert "the normalisation, like the mirrored crop whose embedding is added, is inside `model.onnx`" in readme
    assert "enrol again whom `gallery.onnx` has embedded without it" in readme
    assert "With nothing but opencv:fp32" in readme
    assert readme.count("Here, too, `gallery.onnx` makes a, as above.") == 1
    assert "adds the embedding of the mirrored image" in run("inspect", bundle)
    # The graph of a quantised network is nobody's.
    quantize_dynamic(bundle / "model.onnx", tmp_path / "eight.onnx")
    (tmp_path / "eight.onnx").replace(bundle / "model.onnx")
    said = run("inspect", bundle)
    assert f"network        {contract['recipe']['source']['backbone']}\n" in said
    assert "adds the embedding of the mirrored image" in said
    assert "none of our networks" not in said


@pytest.mark.slow
def test_a_bundle_whose_images_support_no_far_is_verified(bundle: Path, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "b"
    shutil.copytree(bundle, copy)
    contract = json.loads((copy / "model.json").read_text())
    none = {"supported": False, "tar": None, "threshold": None}
    contract["evaluation"]["operating_points"] = [{"far": far, **none} for far in (1e-8, 1e-9)]
    contract["operating_point"] = {"far": None, "threshold": None}
    (copy / "model.json").write_text(json.dumps(contract))
    for words in ((), ("--run", trained / "run")):
        shown = run("verify-bundle", copy, *words)
        assert "TAR: not compared, the bundle's images support none of its FARs\n" in shown
        assert shown.endswith(f"{copy}: as it was measured\n")


@pytest.mark.slow
def test_another_gallery_file_is_refused(two_networks: Path, tmp_path: Path) -> None:
    moved = tmp_path / "two"
    shutil.copytree(two_networks, moved)
    shutil.copyfile(moved / "model.onnx", moved / "gallery.onnx")
    with pytest.raises(RunError, match=r"gallery\.onnx: expected the file that was measured"):
        run("verify-bundle", moved)


def test_bad_words(trained: Path, tmp_path: Path) -> None:
    model = trained / "run"
    for words, message in (
        (("--precision", "fp8"), "unknown precision 'fp8'"),
        (("--far", "1e-9"), r"data supports, got another: FAR 1e-09 needs at least .* \(measured: 0\.2, 0\.1\)"),
        (("--far", "1"), "expected a FAR between 0 and 1 to decide by, got 1; give a fraction"),
        (("--opset", "9"), "expected an opset from 11 to 23, got 9"),
        (("--batch", "0"), "expected a batch of 1 or more images, got 0"),
        (("--max-loss", "5"), "expected a loss of TAR as a fraction"),
        (("--detector", "absent.onnx"), "expected a detector's ONNX file"),
        (("--detector", trained / "images.csv"), "images.csv"),
        (("--detector", shared("detectors/yunet_n_dynamic.onnx")), "a detector of InsightFace's form .* got YuNet's"),
    ):
        with pytest.raises(InputError, match=message):
            run("export", model, "--out", tmp_path / "c", *words)
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="expected a new folder, it already exists"):
        run("export", "--model", model, "--out", trained / "run")
    with pytest.raises(InputError, match="expected a run folder, or --model WEIGHTS with --backbone NAME"):
        run("export", "--out", tmp_path / "c")
    with pytest.raises(InputError, match="expected a folder with --precision"):
        run("export", model, "--out", tmp_path / "c.onnx", "--far", "0.1")
    with pytest.raises(InputError, match="expected a bundle with model.json"):
        run("verify-bundle", model)


@pytest.mark.slow
def test_a_run_keeps_what_its_file_says_of_normalisation(trained: Path, tmp_path: Path) -> None:
    """A folded ONNX file with a normalisation of its own, through training, model and bundle."""
    from arcface_export import export_arcface, give_statistics

    from facexfer.backbones import create_backbone
    from facexfer.engine.train import train
    from facexfer.runs.folder import load_backbone

    name = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"
    network = give_statistics(create_backbone(name))
    weights = export_arcface(network, tmp_path / "theirs.onnx", normalise=True)
    values = {
        "source": {"backbone": name, "weights": str(weights)},
        "data": {"manifest": str(trained / "images.csv")},
        "method": {"name": "l2"},
        "optimizer": {"iterations": 1, "batch_size": 8, "learning_rate": 1e-12, "frozen_batchnorm": True},
        "evaluation": {"fars": [0.1], "untouched": False},
        "runtime": {"accelerator": "cpu"},
    }
    train(parse_recipe(values, "test"), tmp_path / "run", resume=False)
    assert network.info.scale == (1 / 127.5,) * 3
    assert load_backbone(tmp_path / "run").info.scale == (0.0078125,) * 3
    assert load_backbone(tmp_path / "run").info.source == "theirs.onnx"
    crops = np.stack([read_crop(path, (112, 112)) for path in sorted((trained / "nir" / "p0").iterdir())])
    first, second, third = (
        load(path).embed(crops)
        for path in (weights, tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.safetensors")
    )
    assert np.abs(first - second).max() < 1e-4
    assert np.array_equal(second, third)


@pytest.mark.slow
def test_a_recommended_threshold_goes_into_the_bundle(bundle: Path, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "b"
    shutil.copytree(bundle, copy)
    door = ("--recommend", "--daily-attempts", "10", "--impostor-share", "0.1", "--max-false-accepts-per-year", "80")
    measured = (
        "--manifest",
        trained / "images.csv",
        "--split",
        "val",
        "--gallery",
        "vis",
        "--probe",
        "nir",
        "--far",
        "0.2",
    )
    shown = run("evaluate", "--model", copy, *measured, *door, "--into", copy)
    assert shown.endswith(f"To make it this one: facexfer export RUN --out NEW --far {80 / 365}\n")
    contract, before = json.loads((copy / "model.json").read_text()), json.loads((bundle / "model.json").read_text())
    advice = contract.pop("recommendation")
    assert advice["far"] == pytest.approx(80 / 365)
    data = before["evaluation"]["data"]
    assert advice["measured"] == {"comparison": "vis-nir", "data": data, "split": "val", "caveats": []}
    assert contract == before
    # Of other pairs export finds other thresholds; and whoever reads the bundle sees what this one was found on.
    shown = run(
        "evaluate",
        "--model",
        copy,
        "--manifest",
        trained / "images.csv",
        "--split",
        "train",
        "--probe",
        "vis",
        "--far",
        "0.2",
        *door,
        "--into",
        copy,
    )
    assert "Written: " in shown
    assert "facexfer export --far" not in shown
    measured_on = json.loads((copy / "model.json").read_text())["recommendation"]["measured"]
    assert (measured_on["comparison"], measured_on["split"]) == ("vis", "train")
    assert measured_on["data"] != data
    assert "was trained on" in measured_on["caveats"][0]
    (copy / "model.json").write_text(json.dumps({**before, "sha256": "0"}))
    with pytest.raises(InputError, match="expected the bundle's own network with --into, got another; give --model"):
        run("evaluate", "--model", copy, *measured, *door, "--into", copy)
    (copy / "model.json").write_text(json.dumps(before))
    with pytest.raises(InputError, match="expected no --flip with --into"):
        run("evaluate", "--model", copy, *measured, *door, "--flip", "--into", copy)
    with pytest.raises(
        InputError, match=r"model\.onnx: expected the gallery's network of .*, got another; leave it out"
    ):
        run("evaluate", "--model", copy, *measured, *door, "--gallery-model", copy / "model.onnx", "--into", copy)
    with pytest.raises(InputError, match="expected a bundle after --into, got none"):
        run("evaluate", "--model", copy, *measured, *door, "--into", tmp_path)
    with pytest.raises(InputError, match="expected --recommend with --into; add it, or leave --into out"):
        run("evaluate", "--model", copy, *measured, "--into", copy)
    with pytest.raises(InputError, match="expected --impostor-share, --max-false-accepts-per-year with --recommend"):
        run("evaluate", "--model", copy, *measured, "--recommend", "--daily-attempts", "10")
