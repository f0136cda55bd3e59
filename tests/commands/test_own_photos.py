"""The README's lines for one's own photos, with a pack in InsightFace's form in the place of the real one."""

import json

import pytest
from arcface_export import export_arcface, give_statistics
from small_faces import write_small_set
from typer.testing import CliRunner

from facexfer.backbones import create_backbone
from facexfer.cli import app


@pytest.mark.slow
def test_prepare_train_from_a_pack_by_name_evaluate_export(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    pack = tmp_path / ".insightface" / "models" / "buffalo_sc"
    pack.mkdir(parents=True)
    export_arcface(give_statistics(create_backbone("mbf")), pack / "w600k_mbf.onnx")
    write_small_set(tmp_path / "faces", train=10, val=0, images=2, modalities=("nir", "vis"))
    (tmp_path / "faces" / "nir").rename("nir-photos")
    (tmp_path / "faces" / "vis").rename("vis-photos")

    def run(*words):
        result = CliRunner().invoke(app, [*words])
        assert result.exit_code == 0, (result.output, result.exception)

    run("prepare", "nir-photos", "--layout", "folders", "--pre-cropped", "--modality", "nir",
        "--protocol", "identity-disjoint", "--out", "nir")  # fmt: skip
    run("prepare", "vis-photos", "--layout", "folders", "--pre-cropped", "--modality", "vis", "--out", "vis")
    run("train", "nir-csd", "--set", "data.manifest=nir/images.csv", "--set", "companions.manifest=vis/images.csv",
        "--set", "optimizer.epochs=2", "--set", "optimizer.batch_size=16", "--set", "runtime.accelerator=cpu",
        "--out", "runs/mine")  # fmt: skip
    run("evaluate", "--model", "runs/mine", "--manifest", "nir/images.csv", "--split", "val", "--probe", "nir",
        "--far", "0.1", "--report", "report")  # fmt: skip
    run("export", "--model", "runs/mine", "--out", "model.onnx")
    assert (tmp_path / "model.onnx").is_file()
    assert (tmp_path / "report" / "report.json").is_file()
    assert "nir/tar@0.01" in json.loads((tmp_path / "runs/mine/result.json").read_text())["figures"]
