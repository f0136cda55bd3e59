"""Several draws as manifests of their own, failures with them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_faces import write_small_set
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.data.draws import write_draws
from facexfer.data.failures import read_failures
from facexfer.data.images import read_crop
from facexfer.data.manifest import read_manifest, write_manifest
from facexfer.errors import InputError
from facexfer.files.folders import make_folder
from facexfer.files.lock import hold_folder


def split(*words: Path | int | str) -> str:
    result = CliRunner().invoke(app, ["split", *map(str, words)])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_draws_are_manifests_that_can_be_read(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path / "set", train=6, val=4, images=1)
    failures = tmp_path / "failures.csv"
    failures.write_text("path,identity,modality,split,reason\nx.png,p1,nir,,no-face\ny.png,alone,nir,,no-face\n")
    out = tmp_path / "draws"
    shown = split(manifest, "--protocol", "identity-disjoint", "--draws", 3, "--out", out, "--failures", failures)
    assert shown.count("fingerprint") == 3
    recorded = json.loads((out / "draws.json").read_text())
    assert len({draw["fingerprint"] for draw in recorded.values()}) == 3
    for name, draw in recorded.items():
        images = read_manifest(out / f"{name}.csv").images
        assert {image.identity for image in images if image.split == "val"} == set(draw["val"]) - {"alone"}
        assert read_crop(images[0].path).shape == (112, 112, 3)
        for failure in read_failures(out / f"{name}-failures.csv"):
            assert (failure.split == "val") == (failure.identity in draw["val"])
    assert read_manifest(manifest).images[0].split == "train"


def test_a_protocol_that_does_not_fit_writes_nothing(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path / "set", images=1)
    with pytest.raises(InputError, match="expected the 335 identities"):
        split(manifest, "--protocol", "polyu-nirfd", "--out", tmp_path / "draws")
    assert not (tmp_path / "draws").exists()
    with pytest.raises(InputError, match="expected a folder to write to, got: a file"):
        split(manifest, "--protocol", "identity-disjoint", "--out", manifest)


def test_draws_that_are_there_stay(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path / "set", train=6, val=4, images=1)
    other = write_small_set(tmp_path / "other", train=9, val=2, images=1)
    out, protocol = tmp_path / "draws", ("--protocol", "identity-disjoint")
    split(manifest, *protocol, "--draws", 3, "--out", out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    split(manifest, *protocol, "--draws", 2, "--out", out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    with pytest.raises(InputError, match=r"without another identity-disjoint-0\.csv, got one that is not this draw"):
        split(other, *protocol, "--draws", 2, "--out", out)
    split(manifest, *protocol, "--draws", 4, "--out", out)
    assert len(json.loads((out / "draws.json").read_text())) == 4
    assert {name: (out / name).read_bytes() for name in before if name != "draws.json"} == {
        name: data for name, data in before.items() if name != "draws.json"
    }


def test_a_split_that_comes_between_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write_small_set(tmp_path / "set", train=6, val=4, images=1)
    out = tmp_path / "draws"

    def let_another_in(folder: Path) -> None:
        monkeypatch.setattr("facexfer.data.draws.make_folder", make_folder)
        write_draws(manifest, folder, "vis-nir", 1)

    monkeypatch.setattr("facexfer.data.draws.make_folder", let_another_in)
    write_draws(manifest, out, "identity-disjoint", 1)
    assert set(json.loads((out / "draws.json").read_text())) == {"vis-nir-0", "identity-disjoint-0"}


def test_one_split_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path / "set", train=6, val=4, images=1)
    out = tmp_path / "draws"
    with hold_folder(out, "", ""), pytest.raises(InputError, match="that no other split writes to, one is at work"):
        write_draws(manifest, out, "identity-disjoint", 1)
    assert [file.name for file in out.iterdir()] == [".lock"]
    write_draws(manifest, out, "identity-disjoint", 1)


def test_a_folder_with_files_of_others_is_left_alone(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path / "set", train=6, val=4, images=1)
    out = tmp_path / "draws"
    out.mkdir()
    for name, wanted in (("identity-disjoint-0.csv", "without another"), ("draws.json", "as split writes them")):
        (out / name).write_text("[1]")
        with pytest.raises(InputError, match=wanted):
            split(manifest, "--protocol", "identity-disjoint", "--out", out)
        assert [file.read_text() for file in out.iterdir()] == ["[1]"]
        (out / name).unlink()


def test_an_interrupted_call_can_be_repeated(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path / "set", train=6, val=4, images=1)
    out, words = tmp_path / "draws", (manifest, "--protocol", "identity-disjoint", "--draws", 3, "--out")
    split(*words, out)
    whole = {file.name: file.read_bytes() for file in out.iterdir()}
    # The record is written last.
    (out / "draws.json").unlink()
    (out / "identity-disjoint-2.csv").unlink()
    split(*words, out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == whole
    (out / "draws.json").unlink()
    with (out / "identity-disjoint-1.csv").open("a") as file:
        file.write("extra.png,p0,nir,train,\n")
    with pytest.raises(InputError, match=r"without another identity-disjoint-1\.csv, got one that is not this draw"):
        split(*words, out)


def test_draws_in_a_linked_folder_refer_to_the_pictures(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path / "set", train=6, val=4, images=1)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er", target_is_directory=True)
    split(manifest, "--protocol", "identity-disjoint", "--draws", 1, "--out", tmp_path / "link" / "draws")
    images = read_manifest(tmp_path / "link" / "draws" / "identity-disjoint-0.csv").images
    assert all(image.path.is_file() for image in images)


@pytest.mark.parametrize("photo", [None, "", "0.png"])
def test_draws_of_photos_have_fingerprints_of_their_own(tmp_path: Path, photo: str | None) -> None:
    # Everybody's photos have the same names, and no column, an empty one, or one without meaning tells of others.
    manifest = read_manifest(write_small_set(tmp_path / "set", train=3, val=2))
    extra = {} if photo is None else {"photo": photo}
    write_manifest(manifest.path, [replace(image, extra=extra) for image in manifest.images])
    draws = write_draws(manifest.path, tmp_path / "draws", "vis-nir-one", 60, 2)
    splits: dict[str, set[tuple[str, ...]]] = {}
    for draw in draws:
        splits.setdefault(draw.fingerprint, set()).add(draw.splits)
    assert {len(each) for each in splits.values()} == {1}
    assert len(splits) == len({draw.splits for draw in draws})
