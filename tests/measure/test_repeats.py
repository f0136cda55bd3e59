"""Evaluations of tables in which a picture is listed twice: the figures stay, and it is reported."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_faces import write_small_set

import facexfer
from facexfer.data.manifest import read_manifest
from facexfer.errors import DataWarning, InputError
from facexfer.measure.embedder import load
from facexfer.measure.faces import find_faces
from facexfer.measure.pair_sets import compare
from facexfer.measure.transfers import measure_networks

FARS = [0.5, 0.1]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return facexfer.create_backbone("mobilefacenet_slim")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_small_set(tmp_path / "faces", train=1, val=3, images=4)


def rows_of(manifest: Path):
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def write(manifest: Path, rows, name: str = "other.csv"):
    path = manifest.with_name(name)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def evaluate(model, manifest: Path, **options: Any):
    return facexfer.evaluate(model, manifest, **{"split": "val", "probe": "nir", "fars": FARS, **options})


@pytest.mark.parametrize("way", ["rows", "dotted", "absolute", "copies", "other captures"])
def test_a_picture_twice_counts_once(model, manifest: Path, way: str) -> None:
    once = evaluate(model, manifest)
    rows, again = rows_of(manifest), rows_of(manifest)
    for row in again:
        if way == "dotted":
            row["path"] = f"./vis/../{row['path']}"
        elif way == "absolute":
            row["path"] = str(manifest.parent / row["path"])
        elif way == "copies":
            shutil.copyfile(manifest.parent / row["path"], manifest.parent / f"copy-{row['path'].replace('/', '-')}")
            row["path"] = f"copy-{row['path'].replace('/', '-')}"
        elif way == "other captures":
            row["capture"] += "b"
    with pytest.warns(DataWarning, match="12 of 24 images are pictures listed before"):
        twice = evaluate(model, write(manifest, rows + again))
    assert twice.points == once.points
    assert json.loads(twice.to_json())["data"]["repeated"] == 12


def test_a_picture_under_two_names_is_no_impostor_pair(model, manifest: Path) -> None:
    once = evaluate(model, manifest)
    rows = rows_of(manifest)
    nir = [row for row in rows if row["split"] == "val" and row["modality"] == "nir"]
    with pytest.warns(DataWarning, match="1 pictures are listed under two identities"):
        found = evaluate(model, write(manifest, [*rows, {**nir[0], "identity": nir[-1]["identity"]}]))
    # 12 images become 13: 4 more genuine pairs, 8 more impostor pairs less the picture with itself.
    before, after = once.points[0], found.points[0]
    assert (after.genuine_pairs, after.impostor_pairs) == (before.genuine_pairs + 4, before.impostor_pairs + 7)


def test_one_shot_in_one_modality_is_no_pair(model, manifest: Path) -> None:
    rows = rows_of(manifest)
    for row in rows:
        row["capture"] = f"{row['identity']}/{int(row['capture'][-1]) // 2}"
    with pytest.warns(DataWarning, match="6 pairs of one person show one shot in one modality; they are left out"):
        found = evaluate(model, write(manifest, rows))
    assert (found.points[0].genuine_pairs, found.points[0].impostor_pairs) == (12, 48)


def test_what_is_measured_within_visible_light_counts_each_picture_once(model, manifest: Path) -> None:
    once = json.loads(evaluate(model, manifest, before=model).to_json())["visible"]
    rows = rows_of(manifest)
    visible = [row for row in rows if row["split"] == "val" and row["modality"] == "vis"]
    with pytest.warns(DataWarning, match="12 of 24 images are pictures listed before"):
        twice = evaluate(model, write(manifest, rows + visible), before=model)
    assert json.loads(twice.to_json())["visible"] == once
    for row in visible:
        row["capture"] = f"{row['identity']}/{int(row['capture'][-1]) // 2}"
    nir = [row for row in rows if row["modality"] == "nir"]
    message = "6 pairs of one person show one shot in one modality; they are left out"
    with pytest.warns(DataWarning, match=message):
        shots = evaluate(model, write(manifest, nir + visible), before=model)
    with pytest.warns(DataWarning, match=message):
        points = evaluate(model, manifest.with_name("other.csv"), probe="vis").points
    assert points[0].genuine_pairs == 12
    found = json.loads(shots.to_json())["visible"]["old"]
    assert [(each["threshold"], each["tar"]) for each in found] == [(each.threshold, each.tar) for each in points]


def test_networks_are_measured_on_each_picture_once(model, manifest: Path) -> None:
    networks = {name: load(model) for name in ("new", "old")}
    rows = rows_of(manifest)
    once, twice = (read_manifest(table).select(split="val") for table in (manifest, write(manifest, rows + rows)))
    found = measure_networks(networks, once, FARS, [("new", "old")])
    with pytest.warns(DataWarning, match="12 of 24 images are pictures listed before"):
        again = measure_networks(networks, twice, FARS, [("new", "old")])
    assert again.to_json() == found.to_json()
    assert again.differences == found.differences


def test_a_gallery_of_the_probes_themselves_counts_each_pair_once(model, manifest: Path) -> None:
    rows = [{**row, "capture": ""} for row in rows_of(manifest)]
    within = evaluate(model, write(manifest, rows))
    assert (within.points[0].genuine_pairs, within.points[0].impostor_pairs) == (3 * 6, 3 * 16)
    assert evaluate(model, write(manifest, rows), gallery="nir").points == within.points
    # The same file as VIS and NIR.
    double = write(manifest, [*rows, *({**row, "modality": "copy"} for row in rows if row["modality"] == "nir")])
    assert evaluate(model, double, gallery="copy").points == within.points
    # Another network's gallery is another one: a by the first and b by the second is not b by the first and a by the
    # second, but a picture still has no pair with itself.
    torch.manual_seed(1)
    other = facexfer.create_backbone("mobilefacenet_slim")
    crossed = evaluate(model, write(manifest, rows), gallery="nir", gallery_model=other)
    assert crossed.points[0].genuine_pairs == 12 * 4 - 12


def test_a_gallery_that_is_a_part_of_the_probes_is_refused(model, manifest: Path) -> None:
    with pytest.raises(InputError, match="expected the probes' modality with the gallery 'vis', got none"):
        evaluate(model, manifest, probe=None, gallery="vis")


def test_failures_templates_and_lists_take_each_picture_once(model, manifest: Path, tmp_path: Path) -> None:
    rows = rows_of(manifest)
    nir = [row for row in rows if row["split"] == "val" and row["modality"] == "nir"]
    (tmp_path / "failures.csv").write_text(f"identity,modality,split\n{nir[0]['identity']},nir,val\n")
    pairs = tmp_path / "pairs.csv"
    first, second, third = nir[0]["path"], nir[1]["path"], nir[-1]["path"]
    lines = [f"{first},{second},1,0", f"{first},{third},0,0", f"{second},{third},0,1", f"{second},{nir[2]['path']},1,1"]
    pairs.write_text("first,second,same,fold\n" + "\n".join(lines))
    options = {"failures": tmp_path / "failures.csv", "templates": True, "identify": True, "pairs": pairs}
    once = json.loads(evaluate(model, manifest, **options).to_json())
    with pytest.warns(DataWarning):
        twice = json.loads(evaluate(model, write(manifest, rows + nir[::-1]), **options).to_json())
    for figure in ("pairs", "with_failures", "folds"):
        assert twice[figure] == once[figure]


def test_a_listed_pair_of_a_picture_with_itself_is_left_out(model, manifest: Path, tmp_path: Path) -> None:
    rows = rows_of(manifest)
    nir = [row for row in rows if row["split"] == "val" and row["modality"] == "nir"]
    shutil.copyfile(manifest.parent / nir[0]["path"], manifest.parent / "copy.png")
    lone = [{**row, "identity": row["path"]} for row in [*nir, {**nir[0], "path": "copy.png"}]]
    lines = [f"{nir[0]['path']},copy.png,1,0", f"{nir[0]['path']},{nir[1]['path']},1,0"]
    lines += [f"{nir[0]['path']},{nir[5]['path']},0,0", f"{nir[1]['path']},{nir[9]['path']},0,0"]
    (tmp_path / "pairs.csv").write_text("first,second,same,fold\n" + "\n".join(lines))
    with pytest.warns(DataWarning, match="1 of 4 listed pairs are a picture with itself; they are left out"):
        found = evaluate(model, write(manifest, lone), pairs=tmp_path / "pairs.csv")
    assert (found.points[0].genuine_pairs, found.points[0].impostor_pairs) == (1, 2)


def test_another_picture_under_the_same_name_is_another_fingerprint(model, manifest: Path) -> None:
    before = json.loads(evaluate(model, manifest).to_json())["data"]["sha256"]
    row = next(row for row in rows_of(manifest) if row["split"] == "val")
    picture = manifest.parent / row["path"]
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert json.loads(evaluate(model, manifest).to_json())["data"]["sha256"] != before


def test_the_side_of_every_image_is_known(model, manifest: Path) -> None:
    rows = rows_of(manifest)
    with pytest.warns(DataWarning):
        comparison = compare(load(model), find_faces(write(manifest, rows + rows)), "nir", None)
    assert comparison.places == (*range(16), *range(16))
    only = write(manifest, [rows[0], {**rows[0], "path": f"./{rows[0]['path']}"}])
    with pytest.warns(DataWarning, match="1 of 2 images"), pytest.raises(InputError, match="nobody has two images"):
        evaluate(model, only, split="train", probe=rows[0]["modality"])


def test_embeddings_that_are_there_twice_are_said() -> None:
    draw = np.random.default_rng(0)
    vectors, labels = draw.normal(size=(8, 16)).astype(np.float32), np.repeat(np.arange(4), 2)
    vectors[1] = vectors[0]
    with pytest.warns(DataWarning, match="1 of 8 embeddings are the same as another, bit for bit"):
        facexfer.evaluate(embeddings=vectors, labels=labels, fars=FARS)
    probes = np.concatenate([vectors[:2], -vectors[2:3]])
    with pytest.warns(DataWarning, match="2 of 3 embeddings are in the gallery too"):
        facexfer.evaluate(
            embeddings=probes, labels=labels[:3], gallery_embeddings=vectors, gallery_labels=labels, fars=FARS
        )


@pytest.mark.parametrize("dimensions", [4, 16])
def test_a_gallery_that_is_the_probes_is_compared_with_itself_once(dimensions: int) -> None:
    """Not each picture with itself, however short the embeddings."""
    vectors = np.random.default_rng(0).normal(size=(12, dimensions)).astype(np.float32)
    labels = np.repeat(np.arange(4), 3)
    with pytest.warns(DataWarning, match="the gallery's embeddings are the probes'"):
        found = facexfer.evaluate(
            embeddings=vectors, labels=labels, gallery_embeddings=vectors.copy(), gallery_labels=labels, fars=FARS
        )
    assert found.table() == facexfer.evaluate(embeddings=vectors, labels=labels, fars=FARS).table()


def test_a_rate_that_is_asked_for_twice_is_measured_once() -> None:
    vectors = np.random.default_rng(0).normal(size=(12, 4))
    found = facexfer.evaluate(embeddings=vectors, labels=np.repeat(np.arange(4), 3), fars=[0.1, 0.5, 0.1])
    assert [point.far for point in found.points] == [0.1, 0.5]
