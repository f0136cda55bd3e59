"""Who measures a model on people whom it was trained on is told so."""

import json
import shutil
from pathlib import Path

import pytest
from recipe_files import write_recipe
from small_faces import write_small_set

from facexfer.backbones import create_backbone
from facexfer.data.manifest import Manifest, read_manifest
from facexfer.measure.embedder import load
from facexfer.measure.evaluation import evaluate
from facexfer.measure.trained_on import trained_people
from facexfer.recipe import Recipe, parse_recipe
from facexfer.runs.folder import RunFolder

SMALL = "mbf(scale=1, blocks=(1, 1, 1, 1), embedding_size=32)"


def recipe_for(manifest: Path, method: str = "l2", held_out: int = 0, **sections: object) -> Recipe:
    data = {"manifest": str(manifest), "search_identities": held_out}
    of_method = {"method": {"name": method}, "optimizer": {"iterations": 1}}
    return parse_recipe({"source": {"backbone": SMALL}, "data": data, **of_method, **sections}, "test")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    return write_small_set(tmp_path / "set")


@pytest.fixture
def run(manifest: Path, tmp_path: Path) -> Path:
    """A run folder with what a run has that was trained: its recipe and its network."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    write_recipe(recipe_for(manifest), RunFolder(folder).recipe_file)
    RunFolder(folder).save_model(create_backbone(SMALL), recipe_for(manifest))
    shutil.copy(RunFolder(folder).model_file, RunFolder(folder).checkpoint_file)
    return folder


def images_of(path: Path, split: str | None = None) -> Manifest:
    return read_manifest(path).select(split=split)


def test_without_a_split_every_output_counts_the_people_trained_on(manifest: Path, run: Path, tmp_path: Path) -> None:
    found = evaluate(run, manifest, probe="nir", fars=[0.1])
    (line,) = found.findings.caveats
    assert line.startswith("4 of the 7 people measured are people that run was trained on")
    assert line.endswith("measure the split 'val'")
    assert found.table().splitlines()[0] == line
    assert json.loads(found.to_json())["caveats"] == [line]
    found.report(tmp_path / "report", pictures=False)
    assert "4 of the 7 people measured" in (tmp_path / "report" / "report.html").read_text()


def test_nothing_is_said_of_the_people_held_out(manifest: Path, run: Path) -> None:
    found = evaluate(run, manifest, split="val", probe="nir", fars=[0.1])
    assert found.findings.caveats == ()
    assert "caveats" not in json.loads(found.to_json())


def test_the_older_network_counts_too(manifest: Path, run: Path) -> None:
    found = evaluate(create_backbone(SMALL), manifest, probe="nir", fars=[0.1], before=run)
    assert [line.split(":")[0] for line in found.findings.caveats] == [
        "4 of the 7 people measured are people that run was trained on"
    ]


def test_a_model_that_is_open_knows_its_run(manifest: Path, run: Path) -> None:
    images = images_of(manifest).images
    assert trained_people(load(run), images) == (4, "val")
    assert trained_people(load(run / "checkpoints" / "last.safetensors", flip=True), images) == (4, "val")
    assert trained_people(load(create_backbone(SMALL)), images) == (0, "")
    found = evaluate(load(run), manifest, probe="nir", fars=[0.1])
    assert [line.split(":")[0] for line in found.findings.caveats] == [
        "4 of the 7 people measured are people that run was trained on"
    ]


@pytest.mark.parametrize("file", ["model.safetensors", "checkpoints/last.safetensors"])
def test_a_file_of_a_run_knows_the_run(manifest: Path, run: Path, file: str) -> None:
    assert trained_people(run / file, images_of(manifest).images) == (4, "val")


def test_a_bundle_knows_its_recipe(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    runtimes = [{"files": [{"name": "model.tflite"}]}]
    content = {"recipe": recipe_for(manifest).model_dump(mode="json"), "runtimes": runtimes}
    (tmp_path / "bundle" / "model.json").write_text(json.dumps(content))
    for name in ("", "model.onnx", "model.tflite"):
        assert trained_people(tmp_path / "bundle" / name, images_of(manifest).images) == (4, "val")
    # The gallery's network is another, and so is any file that only lies there.
    for name in ("gallery.onnx", "other.onnx"):
        assert trained_people(tmp_path / "bundle" / name, images_of(manifest).images) == (0, "")


def test_a_run_that_one_stands_in_is_known(manifest: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    assert trained_people(".", images_of(manifest).images) == (4, "val")


def test_vis_pictures_of_people_trained_on_in_nir_count(manifest: Path, run: Path) -> None:
    vis = [image for image in images_of(manifest).images if image.modality == "vis"]
    assert trained_people(run, vis) == (4, "val")


def test_equal_names_in_another_set_are_other_people(manifest: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert trained_people(run, images_of(write_small_set(tmp_path / "other")).images) == (0, "val")


def test_links_lead_to_the_same_people(manifest: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(manifest.parent)
    assert trained_people(run, images_of(tmp_path / "link" / "images.csv").images) == (4, "val")


def test_held_out_people_are_those_of_the_draw(manifest: Path, run: Path) -> None:
    write_recipe(recipe_for(manifest, held_out=1), RunFolder(run).recipe_file)
    assert trained_people(run, images_of(manifest, "train").images) == (3, "")


def test_photos_of_a_pool_count(manifest: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    pool = write_small_set(tmp_path / "pool", train=5, val=0, modalities=("vis",))
    of_pool = {"manifest": str(pool), "split": "train"}
    write_recipe(recipe_for(manifest, "csd", pool=of_pool), RunFolder(run).recipe_file)
    assert trained_people(run, images_of(pool).images) == (5, "val")


def test_what_is_not_here_is_not_guessed(manifest: Path, run: Path, tmp_path: Path) -> None:
    images = images_of(manifest).images
    (tmp_path / "lone.safetensors").write_bytes(b"")
    assert trained_people(tmp_path / "lone.safetensors", images) == (0, "")
    assert trained_people(create_backbone(SMALL), images) == (0, "")
    write_recipe(recipe_for(tmp_path / "gone.csv"), RunFolder(run).recipe_file)
    assert trained_people(run, images) == (0, "")
    RunFolder(run).recipe_file.write_text("no = recipe")
    assert trained_people(run, images) == (0, "")
