"""NIR renderings of VIS crops: the same each time, complete or absent, refused in one line."""

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photo_files import picture
from small_faces import write_small_set
from typer.testing import CliRunner

from facexfer.cli import app
from facexfer.data.draws import write_draws
from facexfer.data.images import read_rgb
from facexfer.data.manifest import read_manifest
from facexfer.data.nir_simulation import SimulateNIR
from facexfer.data.preparation.simulated_set import STRENGTHS, simulate_nir, write_simulated_set
from facexfer.errors import InputError


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_small_set(tmp_path / "faces", images=2, modalities=("vis",))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_both_modalities_share_capture_identity_and_split(manifest: Path, tmp_path: Path) -> None:
    written = read_manifest(write_simulated_set(manifest.parent, tmp_path / "both", "mild"))
    vis, nir = (written.select(modality=modality).images for modality in ("vis", "nir"))
    given = read_manifest(manifest).images
    assert [image.path.read_bytes() for image in vis] == [image.path.read_bytes() for image in given]
    columns = [(image.capture, image.identity, image.split) for image in given]
    assert [(image.capture, image.identity, image.split) for image in vis] == columns
    assert [(image.capture, image.identity, image.split) for image in nir] == columns
    rendered = read_rgb(nir[0].path)
    assert rendered.shape == (112, 112, 3)
    assert (rendered == rendered[:, :, :1]).all()


def test_a_rendering_depends_on_the_file_and_the_strength_alone(manifest: Path, tmp_path: Path) -> None:
    write_simulated_set(manifest, tmp_path / "one", "strong")
    write_simulated_set(manifest, tmp_path / "two", "strong")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    write_simulated_set(manifest, tmp_path / "mild", "mild")
    one = files_of(tmp_path / "one")
    assert one["nir/p0/0.png"] != files_of(tmp_path / "mild")["nir/p0/0.png"]
    alone = tmp_path / "alone" / "somebody"
    alone.mkdir(parents=True)
    shutil.copyfile(manifest.parent / "vis/p0/0.png", alone / "renamed.png")
    write_simulated_set(tmp_path / "alone", tmp_path / "three", "strong")
    assert files_of(tmp_path / "three")["nir/renamed.png"] == one["nir/p0/0.png"]


def test_a_folder_per_person_can_be_split_afterwards(manifest: Path, tmp_path: Path) -> None:
    written = write_simulated_set(manifest.parent / "vis", tmp_path / "both", "mild")
    images = read_manifest(written).images
    assert {image.split for image in images} == {"all"}
    assert images[0].capture == "p0/0"
    (draw,) = write_draws(written, tmp_path / "draws", "identity-disjoint", 1)
    assert {*draw.splits} == {"train", "val"}
    by_person: dict[str, set[str]] = {}
    for image in read_manifest(tmp_path / "draws/identity-disjoint-0.csv").images:
        by_person.setdefault(image.identity, set()).add(image.split)
    assert all(len(splits) == 1 for splits in by_person.values())


def test_the_strengths_are_the_two_halves_of_what_the_simulation_draws_from() -> None:
    whole = SimulateNIR()
    for name in STRENGTHS["mild"]:
        low, high = getattr(whole, name)
        mild, strong = (STRENGTHS[strength][name] for strength in ("mild", "strong"))
        if name == "exposure_range":
            assert strong == (low, high)
            assert mild == pytest.approx((low + (high - low) / 4, high - (high - low) / 4))
        elif name == "bits_range":  # Fewer bits are harder, and there are three numbers only.
            assert (strong, mild) == ((low, 7), (7, high))
        else:
            assert mild == (low, pytest.approx((low + high) / 2))
            assert strong == (pytest.approx((low + high) / 2), high)


def test_strong_changes_more_than_mild() -> None:
    photo = np.asarray(picture(size=(112, 112)))

    def detail(strength):
        grey = [simulate_nir(photo, strength, seed)[:, :, 0] for seed in range(8)]
        return np.mean([np.corrcoef(each.ravel(), photo.mean(axis=2).ravel())[0, 1] for each in grey])

    assert detail("strong") < detail("mild")


def test_bad_input_is_one_line_and_writes_nothing(manifest: Path, tmp_path: Path) -> None:
    def refused(match, crops=manifest, out=tmp_path / "out", **words: Any) -> None:
        with pytest.raises(InputError, match=match):
            write_simulated_set(crops, out, **{"strength": "mild", **words})
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob(".*.writing"))

    refused("unknown strength 'midl'; did you mean 'mild'", strength="midl")
    refused("expected images of modality 'rgb', there are: vis", modality="rgb")
    refused("expected the modality of visible-light crops, got nir, which is simulated; name theirs", modality="nir")
    refused("absent: expected a manifest or a folder of crops, found none", crops=tmp_path / "absent")
    refused("expected a new folder, it exists", out=manifest.parent)
    refused(r"0\.png/out: expected a new folder, got: File exists", out=manifest.parent / "vis/p0/0.png/out")
    photos = write_small_set(tmp_path / "photos", images=1, modalities=("vis",), size=250).parent / "vis"
    refused("expected an aligned crop of 112x112 or 96x112 pixels, got 250x250; prepare the photos first", crops=photos)
    crops = manifest.parent / "vis"
    refused("expected a manifest with --modality rgb, got a folder without images.csv", crops=crops, modality="rgb")
    refused(r"expected a folder outside of .*vis, or it would count as a person", crops=crops, out=crops / "both")
    rows = manifest.read_text().splitlines()
    (manifest.parent / "twice.csv").write_text("\n".join([*rows, rows[1]]))
    refused(r"p0/0\.png: expected each crop once, got it twice", crops=manifest.parent / "twice.csv")
    shutil.copyfile(photos / "p0/0.png", manifest.parent / "vis/p1/1.png")
    refused(r"1 of 14 crops cannot be used: .*p1/1\.png: expected a crop of 112x112 pixels, got 250x250")
    (manifest.parent / "vis/p1/1.png").write_bytes(b"")
    refused(r"1 of 14 crops cannot be used: .*p1/1\.png: expected a readable image")
    shutil.copyfile(photos / "p0/0.png", photos / "0.png")
    refused("expected crops in one folder per person, got no-identity", crops=photos)


def test_crops_whose_copies_would_share_a_name_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "crops" / "p"
    folder.mkdir(parents=True)
    for name in ("a.jpg", "a.jpg.png"):
        cv2.imwrite(str(folder / name), np.asarray(picture(size=(112, 112))))
    with pytest.raises(InputError, match=r"a\.jpg\.png: expected crops with names of their own, got the same name as"):
        write_simulated_set(tmp_path / "crops", tmp_path / "out", "mild")
    (folder / "a.jpg.png").unlink()
    write_simulated_set(tmp_path / "crops", tmp_path / "out", "mild")
    assert files_of(tmp_path / "out").keys() == {"images.csv", "vis/a.jpg", "nir/a.jpg.png"}


def test_crops_of_one_name_are_shots_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "crops" / "p"
    folder.mkdir(parents=True)
    for name in ("a.jpg", "a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.asarray(picture(size=(112, 112))))
    images = read_manifest(write_simulated_set(tmp_path / "crops", tmp_path / "out", "mild")).images
    assert {(image.path.name, image.capture) for image in images if image.modality == "vis"} == {
        ("a.jpg", "a.jpg"),
        ("a.png", "a.png"),
        ("b.png", "b"),
    }


def test_what_fails_half_way_leaves_nothing(manifest: Path, tmp_path: Path) -> None:
    def advance(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_simulated_set(manifest, tmp_path / "out", "mild", advance=advance)
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_a_folder_that_appears_meanwhile_is_left_alone(manifest: Path, tmp_path: Path) -> None:
    def advance(done: int, total: int) -> None:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "theirs").write_text("")

    with pytest.raises(InputError, match="expected a new folder, got: Directory not empty"):
        write_simulated_set(manifest, tmp_path / "out", "mild", advance=advance)
    assert files_of(tmp_path / "out") == {"theirs": b""}


def test_the_command_says_what_it_wrote(manifest: Path, tmp_path: Path) -> None:
    words = ["simulate-nir", str(manifest.parent), "--strength", "mild", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.exception
    assert "images.csv: 14 crops in VIS and NIR, 7 identities" in result.output
    assert "simulated" in result.output


def test_crops_of_several_folders_listed_in_one_of_them_stay_apart(tmp_path: Path) -> None:
    here, there = (write_small_set(tmp_path / name, train=1, val=0, images=1, modalities=("vis",)) for name in "ab")
    cv2.imwrite(str(there.parent / "vis/p0/0.png"), 255 - cv2.imread(str(there.parent / "vis/p0/0.png")))
    listed = here.parent / "both.csv"
    rows = ["vis/p0/0.png,p0,vis,train", "../b/vis/p0/0.png,p1,vis,train"]
    listed.write_text("\n".join(["path,identity,modality,split", *rows]))
    written = read_manifest(write_simulated_set(listed, tmp_path / "deep/out", "mild"))
    assert all((tmp_path / "deep/out").resolve() in image.path.resolve().parents for image in written.images)
    assert len({image.path.resolve() for image in written.images}) == 4
    by_name = {(image.identity, image.modality): read_rgb(image.path) for image in written.images}
    for identity, folder in (("p0", here.parent), ("p1", there.parent)):
        np.testing.assert_array_equal(by_name[identity, "vis"], read_rgb(folder / "vis/p0/0.png"))
