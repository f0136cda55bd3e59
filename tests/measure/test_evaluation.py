"""`facexfer.evaluate`: one call for models, embeddings and scores, the same figures as its parts give."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_faces import write_small_set

import facexfer
from facexfer.backbones.parts.info import BackboneModule
from facexfer.data.images import read_crop
from facexfer.errors import InputError
from facexfer.eval.metrics import Metric
from facexfer.measure.recommend import Door

FARS = [0.5, 0.1]


@pytest.fixture(scope="module")
def network() -> BackboneModule:
    torch.manual_seed(0)
    return facexfer.create_backbone("mobilefacenet_slim")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("faces"), train=2, val=3, images=3)


@pytest.fixture
def vectors() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(40, 8)).astype(np.float32), generator.integers(0, 6, 40)


def test_embeddings_in_arrays_and_in_files(vectors: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    embeddings, labels = vectors
    found = facexfer.evaluate(embeddings=embeddings, labels=labels, fars=FARS)
    assert found.points == facexfer.all_pairs(embeddings, labels, FARS)
    np.save(tmp_path / "e.npy", embeddings)
    np.save(tmp_path / "l.npy", labels)
    again = facexfer.evaluate(embeddings=str(tmp_path / "e.npy"), labels=tmp_path / "l.npy", fars=FARS)
    assert again.points == found.points
    figures = json.loads(found.to_json())
    assert [row["tar"] for row in figures["operating_points"]] == [point.tar for point in found.points]
    assert str(found) == found.table()
    assert found.table().startswith(f"{found.points[0].genuine_pairs:,} genuine and ")
    found.report(str(tmp_path / "report"))
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == figures


def test_scores_in_arrays() -> None:
    generator = np.random.default_rng(0)
    genuine, impostor = generator.normal(2, 1, 50), generator.normal(0, 1, 500)
    found = facexfer.evaluate(scores=(genuine, impostor), fars=FARS)
    assert found.points == facexfer.tar_at_far(genuine, impostor, FARS)
    turned = facexfer.evaluate(scores=(-genuine, -impostor), distances=True, fars=FARS)
    assert [point.tar for point in turned.points] == [point.tar for point in found.points]
    with pytest.raises(InputError, match="scores: expected similarities, but genuine pairs are less alike"):
        facexfer.evaluate(scores=(impostor, genuine))
    with pytest.raises(InputError, match="got one array; give both"):
        facexfer.evaluate(scores=(genuine,))


@pytest.mark.slow
def test_a_network_on_a_manifest_a_folder_and_crops(network: BackboneModule, manifest: Path, tmp_path: Path) -> None:
    side = facexfer.embed(network, manifest.parent / "nir")
    expected = facexfer.all_pairs(side.embeddings, side.labels, FARS)
    on_folder = facexfer.evaluate(network, manifest.parent / "nir", fars=FARS)
    on_manifest = facexfer.evaluate(network, str(manifest), probe="nir", fars=FARS)
    crops = np.stack([read_crop(image.path) for image in side.images])
    on_crops = facexfer.evaluate(network, crops, labels=side.labels, fars=FARS)
    for found in (on_folder, on_manifest, on_crops):
        assert [point.tar for point in found.points] == [point.tar for point in expected]
    on_manifest.report(tmp_path / "report")
    assert "false accept" in (tmp_path / "report" / "report.html").read_text()
    against = facexfer.evaluate(network, manifest, split="val", probe="nir", gallery="vis", before=network, fars=FARS)
    assert against.findings.before.differences[0].difference == 0
    # One VIS picture per person, as in the protocol vis-nir-one: what nobody asked for ends nothing.
    rows = manifest.read_text().splitlines()
    one = manifest.with_name("one.csv")
    one.write_text("\n".join(row for row in rows if not row.startswith("vis/") or "/0.png" in row))
    against = facexfer.evaluate(network, one, split="val", probe="nir", gallery="vis", before=network, fars=FARS)
    assert against.findings.visible is None
    assert against.findings.before.differences[0].difference == 0


@pytest.mark.parametrize("option", ["model", "before", "gallery_model"])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_weights_without_a_networks_name_ask_for_the_option_that_names_it(
    network: BackboneModule, manifest: Path, tmp_path: Path, option: str, kind: str
) -> None:
    """Of a run, an ONNX file or a network nobody needs to say it; of the older model only its own option does."""
    file = tmp_path / "weights"
    if kind == "torch":
        torch.save(network.state_dict(), file)
    else:
        save_file(network.state_dict(), file, {"format": "pt"})
    models: dict[str, Any] = {"model": network, "gallery": "vis", "probe": "nir", option: file}
    needed = "--backbone" if option == "model" else f"--{option.removesuffix('_model')}-backbone"
    with pytest.raises(InputError, match=f"weights: expected {needed} NAME with foreign weights, got none"):
        facexfer.evaluate(images=manifest, fars=FARS, **models)


def test_what_cannot_be_asked_is_named_as_in_python(
    network: BackboneModule, vectors: tuple[np.ndarray, np.ndarray]
) -> None:
    embeddings, labels = vectors
    with pytest.raises(InputError, match="expected one of model, embeddings, scores, got none"):
        facexfer.evaluate()
    with pytest.raises(InputError, match="expected model with slice_by, got embeddings; leave slice_by out"):
        facexfer.evaluate(embeddings=embeddings, labels=labels, slice_by=["camera"])
    with pytest.raises(InputError, match="expected images with model"):
        facexfer.evaluate(network)
    crops = np.zeros((2, 112, 112, 3), np.uint8)
    with pytest.raises(InputError, match="expected labels with an array of crops"):
        facexfer.evaluate(network, crops)
    with pytest.raises(InputError, match="expected a manifest with probe, got an array"):
        facexfer.evaluate(network, crops, labels=np.array([0, 1]), probe="nir")
    with pytest.raises(InputError, match=r"got \(40, 8\) and \(6,\); give one label per row"):
        facexfer.evaluate(embeddings=embeddings, labels=labels[:6])


def test_numbers_of_numpy_are_written_as_json(
    vectors: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A metric of your own may return what numpy gives, and targets and a door may come from an array."""
    values = {"hits": np.int64(3), "rates": {"a": np.float32(0.5)}, "each": np.array([1, 2]), "any": np.bool_(True)}

    def constant(value: Any) -> Any:
        return lambda measured: value

    given = {name: Metric(constant(value), str, "") for name, value in values.items()}
    monkeypatch.setattr("facexfer.eval.metrics.METRICS", given)
    numbers: Any = np.float32(500)
    fars: Any = np.array([0.5, 0.1], np.float32)
    door = Door(numbers, 0.01, numbers)
    found = facexfer.evaluate(embeddings=vectors[0], labels=vectors[1], fars=fars, door=door)
    figures = json.loads(found.to_json())
    assert {name: figures[name] for name in values} == {"hits": 3, "rates": {"a": 0.5}, "each": [1, 2], "any": True}
    assert [row["far"] for row in figures["operating_points"]] == pytest.approx([0.5, 0.1])
    found.report(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == figures


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), np.array([np.inf]), 1j])
def test_a_metric_that_json_cannot_hold_is_named(
    vectors: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    monkeypatch.setattr("facexfer.eval.metrics.METRICS", {"mine": Metric(lambda measured: value, str, "")})
    found = facexfer.evaluate(embeddings=vectors[0], labels=vectors[1], fars=FARS)
    with pytest.raises(InputError, match="metric 'mine': expected a value that JSON can hold, got .*; return finite"):
        found.to_json()


def test_intervals_are_by_identity_also_where_no_target_is_supported(
    vectors: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    found = facexfer.evaluate(embeddings=vectors[0], labels=vectors[1], fars=[1e-6])
    assert found.findings.identities == 6
    assert "(by identity)" in found.table()
    assert "(by pair)" not in found.table()
    found.report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "the band is the 95 % CI of TAR (by identity)" in page
    assert "of 6 identities with genuine pairs" in page
    assert "(by pair)" not in page
    scores = facexfer.evaluate(scores=(np.array([0.9, 0.8]), np.array([0.1, 0.2])), fars=[1e-6])
    assert scores.findings.identities is None
    assert "(by pair)" in scores.table()
