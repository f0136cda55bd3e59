"""Manifests of both spectra become one, with nobody trained on in one and measured in the other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_faces import write_small_set
from typer.testing import CliRunner

import facexfer
from facexfer.cli import app
from facexfer.commands.generated_faces import copy_source
from facexfer.data.manifest import Manifest, read_manifest, write_manifest
from facexfer.errors import InputError


def merge(*words: Path | str) -> str:
    result = CliRunner().invoke(app, ["merge", *map(str, words)])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """NIR pictures of p0 to p6, split by person, and VIS pictures of p1 to p8 without a split, each in a folder."""
    nir = read_manifest(write_small_set(tmp_path / "nir", modalities=["nir"]))
    vis = read_manifest(write_small_set(tmp_path / "vis", train=9, val=0, modalities=["vis"]))
    kept = [replace(image, split="all") for image in vis.images if image.identity != "p0"]
    write_manifest(vis.path, kept)
    return nir.path, vis.path


def splits_of(manifest: Manifest, modality: str) -> dict[str, str]:
    return {image.identity: image.split for image in manifest.images if image.modality == modality}


def test_pictures_follow_their_person_and_others_go_to_the_pool(both: tuple[Path, Path], tmp_path: Path) -> None:
    before = [path.read_bytes() for path in both]
    out = tmp_path / "deep" / "both.csv"
    out.parent.mkdir()
    shown = merge(*both, "--out", out)
    assert shown == f"nir: 16 train, 12 val\nvis: 8 pool, 12 train, 12 val\nWritten: {out}\n"
    merged = read_manifest(out)
    people = {"train": ("p1", "p2", "p3"), "val": ("p4", "p5", "p6"), "pool": ("p7", "p8")}
    assert splits_of(merged, "vis") == {name: split for split, names in people.items() for name in names}
    assert splits_of(merged, "nir") == splits_of(read_manifest(both[0]), "nir")
    assert all(image.path.is_file() for image in merged.images)
    assert [path.read_bytes() for path in both] == before


def test_a_linked_folder_gets_a_manifest_that_refers_to_the_pictures(both: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er", target_is_directory=True)
    merge(*both, "--out", tmp_path / "link" / "both.csv")
    merge(*both, "--out", tmp_path / "deep" / "er" / "plain.csv")
    assert all(image.path.is_file() for image in read_manifest(tmp_path / "link" / "both.csv").images)
    assert (tmp_path / "link" / "both.csv").read_bytes() == (tmp_path / "link" / "plain.csv").read_bytes()


def test_the_first_manifest_with_a_split_for_a_person_decides(both: tuple[Path, Path], tmp_path: Path) -> None:
    nir, vis = both
    images = list(read_manifest(vis).images)
    # p4 is measured in NIR; one of its pictures stays out; p8 has a split here alone.
    other = {"p4": "train", "p8": "train"}
    changed = [replace(image, split=other.get(image.identity, "all")) for image in images]
    unused = next(place for place, image in enumerate(changed) if image.identity == "p4")
    changed[unused] = replace(changed[unused], split="unused")
    write_manifest(vis, changed)
    shown = merge(nir, vis, "--out", tmp_path / "both.csv")
    assert "3 pictures were in another split than the one that their person is in now" in shown
    p4 = [image.split for image in read_manifest(tmp_path / "both.csv").images if image.identity == "p4"]
    assert sorted(p4) == ["unused"] + ["val"] * 7
    assert splits_of(read_manifest(tmp_path / "both.csv"), "vis")["p8"] == "train"
    merge(vis, nir, "--out", tmp_path / "other.csv")
    assert splits_of(read_manifest(tmp_path / "other.csv"), "nir")["p4"] == "train"


def test_a_link_in_a_circle_is_a_picture_like_another(both: tuple[Path, Path], tmp_path: Path) -> None:
    nir, vis = both
    circle = nir.parent / "circle.png"
    circle.symlink_to(circle.name)
    write_manifest(nir, [*read_manifest(nir).images, replace(read_manifest(nir).images[0], path=circle)])
    merge(nir, vis, "--out", tmp_path / "both.csv")
    assert "circle.png" in {image.path.name for image in read_manifest(tmp_path / "both.csv").images}


def test_what_cannot_be_merged_is_refused_and_nothing_is_written(both: tuple[Path, Path], tmp_path: Path) -> None:
    nir, vis = both
    out = tmp_path / "both.csv"
    with pytest.raises(InputError, match="expected two or more manifests to merge, got 1"):
        merge(nir, "--out", out)
    with pytest.raises(InputError, match="expected each picture once, .* is in .* as well"):
        merge(nir, nir, "--out", out)
    (tmp_path / "copy").symlink_to(vis.parent, target_is_directory=True)
    with pytest.raises(InputError, match="expected each picture once"):
        merge(nir, vis, tmp_path / "copy" / "images.csv", "--out", out)
    with pytest.raises(InputError, match=r"expected a new file, it exists"):
        merge(nir, vis, "--out", vis)
    with pytest.raises(InputError, match=r"both\.parquet: expected the name of a CSV, got Parquet's"):
        merge(nir, tmp_path / "absent.csv", "--out", tmp_path / "both.parquet")
    assert not (tmp_path / "both.parquet").exists()
    with pytest.raises(InputError, match="expected an existing folder"):
        merge(nir, vis, "--out", tmp_path / "absent" / "both.csv")
    images = read_manifest(nir).images
    write_manifest(nir, [replace(images[0], split="val"), *images[1:]])
    with pytest.raises(InputError, match=r"line 3: expected every person in one split, p0 is in 'val' \(line 2\) and"):
        merge(vis, nir, "--out", out)
    write_manifest(nir, [replace(image, split="all") for image in images])
    with pytest.raises(InputError, match="expected a manifest with splits among .* split one first"):
        merge(nir, vis, "--out", out)
    assert not out.exists()


@pytest.mark.slow
def test_failures_of_photos_without_a_split_count_with_their_person(tmp_path: Path) -> None:
    images = read_manifest(write_small_set(tmp_path / "set")).images
    nir, vis = tmp_path / "set" / "nir.csv", tmp_path / "set" / "vis.csv"
    write_manifest(nir, [image for image in images if image.modality == "nir"])
    write_manifest(vis, [replace(image, split="all") for image in images if image.modality == "vis"])
    merge(nir, vis, "--out", tmp_path / "both.csv")
    copy_source(tmp_path / "source.safetensors")
    # One of a person who is measured, one of a person who is trained on, one of nobody who is known.
    rows = "".join(f"{name}/x.jpg,{name},vis,all,no-face\n" for name in ("p4", "p1", "p8"))
    (tmp_path / "failures.csv").write_text(f"path,identity,modality,split,reason\n{rows}")
    found = facexfer.evaluate(
        tmp_path / "source.safetensors", tmp_path / "both.csv", backbone="mobilefacenet_slim", split="val",
        gallery="vis", probe="nir", fars=[0.1], failures=tmp_path / "failures.csv",
    )  # fmt: skip
    counted = found.findings.failures
    assert counted is not None
    assert counted.failures == (1, 0)
    assert counted.genuine_pairs == found.findings.points[0].genuine_pairs + 4


@pytest.mark.slow
def test_one_manifest_serves_companions_pool_and_measuring_across(
    both: tuple[Path, Path], recipe_for: Callable[..., Any], tmp_path: Path
) -> None:
    merge(*both, "--out", tmp_path / "both.csv")
    recipe = recipe_for(
        tmp_path / "both.csv",
        data={"modality": "nir", "augmentation": "nir"},
        companions={"match": "identity"},
        pool={"manifest": str(tmp_path / "both.csv"), "share": 0.25},
        method={"name": "csd"},
        optimizer={"iterations": 1},
        evaluation={"pairs": [{"gallery": "vis", "probe": "nir"}]},
    )
    figures = facexfer.train(recipe, tmp_path / "run")["figures"]
    assert figures["vis-nir/tar@0.1"] is not None
