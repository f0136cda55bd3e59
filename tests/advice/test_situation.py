"""What there is, read from small manifests."""

import shutil
from pathlib import Path

import pytest
from small_faces import write_small_set

from facexfer.advice.situation import Amount, read_situation
from facexfer.data.manifest import FaceImage, read_manifest, write_manifest
from facexfer.errors import InputError

SIZE = (112, 112)


def rewritten(manifest: Path, images: list[FaceImage], name: str = "images.csv") -> Path:
    """Write another manifest next to the pictures."""
    write_manifest(manifest.parent / name, images)
    return manifest.parent / name


def again(image: FaceImage, **changes: str | None) -> FaceImage:
    """Copy a row with other values."""
    known = {name: getattr(image, name) for name in ("path", "identity", "modality", "split", "capture")}
    return FaceImage(**{**known, **changes})


def test_one_manifest_of_both_spectra(tmp_path: Path) -> None:
    there = read_situation(write_small_set(tmp_path), SIZE)
    assert there.training == Amount(people=4, images=16, fewest=4, most=4)
    assert there.validation.people == 3
    assert (there.same_shot, there.same_person, there.in_both) == (16, 16, 4)
    assert (there.labelled, there.has_new, there.repeated, there.companions) == (True, True, 0, None)
    assert (there.photos.split, there.photos.people, there.photos.others) == ("train", 4, 0)
    assert [pairs.name for pairs in there.measurable.pairs] == ["nir", "vis-nir", "vis"]


def test_photos_in_a_manifest_of_their_own(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path)
    images = read_manifest(manifest).images
    vis = rewritten(manifest, [again(image, split="all", capture=None) for image in images
                               if image.modality == "vis"], "vis.csv")  # fmt: skip
    nir = rewritten(manifest, [image for image in images if image.modality == "nir"])
    there = read_situation(nir, SIZE, vis)
    assert (there.same_shot, there.same_person, there.in_both) == (0, 16, 0)
    assert there.companions == vis
    # Its only split holds the people who are measured.
    assert there.photos is None
    assert read_situation(nir, SIZE).same_person == 0


def test_photos_that_are_named_and_not_there_are_an_error(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path)
    images = read_manifest(manifest).images
    nir = rewritten(manifest, [image for image in images if image.modality == "nir"])
    as_nir = rewritten(manifest, [again(image, modality="nir") for image in images if image.modality == "vis"], "v.csv")
    with pytest.raises(InputError, match=r"v\.csv: expected pictures of modality 'vis', there are: nir; say after"):
        read_situation(nir, SIZE, as_nir)
    with pytest.raises(InputError, match=r"images\.csv: expected pictures of modality 'rgb', there are: nir; say"):
        read_situation(nir, SIZE, visible="rgb")


def test_the_same_manifest_again_adds_nothing(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path)
    (tmp_path / "link.csv").symlink_to(manifest)
    alone = read_situation(manifest, SIZE)
    assert read_situation(manifest, SIZE, tmp_path / "link.csv") == alone
    assert read_situation(manifest, SIZE, manifest) == alone


def test_where_nobody_is_held_out_a_fifth_is(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path, train=10, val=0)
    there = read_situation(
        rewritten(manifest, [again(each, split="all") for each in read_manifest(manifest).images]), SIZE
    )
    assert there.data.train_split == "all"
    assert there.data.search_identities == 2
    assert (there.training.people, there.validation.people) == (8, 2)


def test_unlabelled_pictures_need_somebody_to_measure_on(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path, train=4, val=4)
    images = [again(each, identity=str(number)) if each.split == "train" else each
              for number, each in enumerate(read_manifest(manifest).images)]  # fmt: skip
    assert not read_situation(rewritten(manifest, images), SIZE).labelled
    with pytest.raises(InputError, match="expected a split 'val' of people with two pictures or more to measure on"):
        read_situation(rewritten(manifest, [each for each in images if each.split == "train"]), SIZE)


def test_another_modality_is_named(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path)
    with pytest.raises(InputError, match="'thermal' or 'rgb', there are: nir, vis; give --modality"):
        read_situation(manifest, SIZE, new="thermal", visible="rgb")


def test_pictures_listed_twice_are_counted(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path)
    folder = tmp_path / "nir" / "p0"
    shutil.copyfile(folder / "0.png", folder / "1.png")
    assert read_situation(manifest, SIZE).repeated == 1


def test_people_are_held_out_of_whom_there_are_pictures_of_the_new_spectrum(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path, train=10, val=0)
    images = read_manifest(manifest).images
    few = {"p0", "p1", "p2", "p3"}
    mixed = rewritten(manifest, [image for image in images if image.modality == "vis" or image.identity in few])
    there = read_situation(mixed, SIZE)
    assert (there.training.people, there.data.search_identities, there.validation.people) == (2, 2, 2)
    assert [pairs.name for pairs in there.measurable.pairs] == ["nir", "vis-nir", "vis"]


def test_pictures_of_the_new_spectrum_are_measured_where_none_are_trained_on(tmp_path: Path) -> None:
    manifest = write_small_set(tmp_path)
    images = read_manifest(manifest).images
    there = read_situation(
        rewritten(manifest, [each for each in images if (each.split, each.modality) != ("train", "nir")]), SIZE
    )
    assert not there.has_new
    assert [pairs.name for pairs in there.measurable.pairs] == ["nir", "vis-nir", "vis"]
