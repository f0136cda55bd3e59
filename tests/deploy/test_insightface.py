"""A bundle of real weights in InsightFace: its FaceAnalysis and model zoo, as a pack with and without manifest."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from retinaface_onnx import write_retinaface
from shared_data import shared
from typer.testing import CliRunner

from facexfer import create_backbone
from facexfer.cli import app
from facexfer.data.preparation.align import align
from facexfer.measure.embedder import load
from facexfer.recipe import parse_recipe
from facexfer.runs.folder import RunFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
CPU = {"providers": ["CPUExecutionProvider"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has trained nothing, so that its network is the published one, and its bundle."""
    folder = tmp_path_factory.mktemp("insightface")
    source = shared("data/lfw-nirsim/images.csv")
    with source.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["modality"] != "nir" and row["split"] == "val"]
    people = sorted({row["identity"] for row in rows})[:8]
    chosen = [row for row in rows if row["identity"] in people and row["path"].endswith(("000.jpg", "001.jpg"))]
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(chosen[0]))
        writer.writeheader()
        writer.writerows({**row, "path": str(source.parent / row["path"])} for row in chosen)
    values = {
        "source": {"backbone": "mobilefacenet", "weights": str(shared(WEIGHTS))},
        "data": {"manifest": str(folder / "images.csv"), "modality": "nir-mild"},
        "method": {"name": "l2"},
        "optimizer": {"iterations": 1},
        "evaluation": {"fars": [0.1], "pairs": [{"gallery": "vis", "probe": "nir-mild"}]},
    }
    recipe, run = parse_recipe(values, "test"), RunFolder(folder / "run")
    run.start(recipe)
    run.save_model(create_backbone("mobilefacenet", weights=shared(WEIGHTS)), recipe)
    run.save_result({})
    detector = write_retinaface(shared("detectors/retinaface_mobilenet0.25_Final.pth"), folder / "det_retina.onnx")
    words = ["export", folder / "run", "--out", folder / "mine", "--detector", detector, "--opset", 17]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.exception
    return folder


WEIGHTS = "weights/mobilefacenet-mxnet-y1/model-0000.params"


def photo(number):
    return cv2.imread(str(shared(f"data/raw-photos/img{number}.jpg")))


def ours(folder: Path, image, points):
    crop = align(np.ascontiguousarray(image[:, :, ::-1]), points, (112, 112))
    return load(folder / "run").embed(crop[None])[0]


def cosine(first, second):
    return first @ second / np.linalg.norm(first) / np.linalg.norm(second)


def test_origin_and_licence_come_from_the_source_through_the_run(folder: Path) -> None:
    contract = json.loads((folder / "mine" / "model.json").read_text())
    assert "InsightFace model zoo" in contract["source"]
    assert contract["licence"] == "non-commercial research only"
    assert "non-commercial research only" in (folder / "mine" / "README.md").read_text()
    assert "non-commercial research only" in (folder / "mine" / "MODEL.LICENSE").read_text()


@pytest.mark.parametrize("form", ["manifest", "plain"])
def test_face_analysis_gives_our_embeddings(folder: Path, form: str, tmp_path: Path) -> None:
    from insightface.app import FaceAnalysis

    if form == "manifest":
        analysis = FaceAnalysis(name=str(folder / "mine"), **CPU)
        assert analysis.model_package.tasks["recognition"].metadata["embedding_dimension"] == 128
    else:
        pack = tmp_path / "models" / "mine"
        pack.mkdir(parents=True)
        for name in ("model.onnx", "detector.onnx"):
            (pack / name).write_bytes((folder / "mine" / name).read_bytes())
        analysis = FaceAnalysis(name="mine", root=str(tmp_path), **CPU)
    analysis.prepare(ctx_id=-1, det_size=(640, 640))
    image = photo(20)
    face = max(analysis.get(image), key=lambda each: each.det_score)
    assert cosine(face.embedding, ours(folder, image, face.kps)) > 0.9999


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.999), ("int8", 0.7)])
def test_smaller_forms_are_recognition_models_too(folder: Path, precision: str, least: float, tmp_path: Path) -> None:
    from insightface import model_zoo

    from facexfer.data.images import read_crop
    from facexfer.data.manifest import read_manifest
    from facexfer.deploy.quantize import write_precision

    crops = np.stack([read_crop(each.path, (112, 112)) for each in read_manifest(folder / "images.csv").images[:8]])
    write_precision(precision, folder / "mine" / "model.onnx", tmp_path / "m.onnx", lambda: crops)
    model = model_zoo.get_model(str(tmp_path / "m.onnx"), **CPU)
    assert type(model).__name__ == "ArcFaceONNX"
    assert model.input_mean == 0
    expected = load(folder / "run").embed(crops[:1])[0]
    assert cosine(model.get_feat(crops[0][:, :, ::-1]).ravel(), expected) > least


def test_photos_are_matched_and_people_found(folder: Path, tmp_path: Path) -> None:
    def run(*words: object):
        detector = ("--detector", shared("detectors/yunet_n_320_320.onnx"), "--bundle", folder / "mine")
        result = CliRunner().invoke(app, list(map(str, ("match", *words, *detector))))
        assert result.exit_code == 0, result.exception
        return result.output.strip()

    photos = {number: shared(f"data/raw-photos/img{number}.jpg") for number in (1, 16, 17, 20, 21)}
    assert run(photos[20], photos[21]).endswith("(FAR 0.1): the same person")
    assert run(photos[20], photos[16]).endswith("(FAR 0.1): two persons")
    for person, number in (("ann", 20), ("bob", 16)):
        (tmp_path / person).mkdir()
        (tmp_path / person / "1.jpg").write_bytes(photos[number].read_bytes())
    assert run("--enrol", tmp_path, "--identify", photos[17]).endswith(": bob")
    assert "nobody of 2 enrolled; closest is " in run("--enrol", tmp_path, "--identify", photos[1])
