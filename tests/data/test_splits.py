"""Fewer identities to train on: the draw is nested, reproducible, and never touches who is measured."""

from pathlib import Path

import numpy as np
import pytest
from small_faces import write_small_set

from facexfer.data.manifest import FaceImage, Manifest, read_manifest
from facexfer.data.splits import limit_identities, limit_per_identity
from facexfer.errors import InputError
from facexfer.recipe import DataSection
from facexfer.runs.face_images import training_and_validation


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest(write_small_set(tmp_path / "faces", train=6))


def test_more_identities_keep_those_of_fewer_in_any_order_of_the_list(manifest: Manifest) -> None:
    training = manifest.select(split="train")
    few, more = (limit_identities(training, count, seed=3) for count in (2, 4))
    assert len(set(few.identities)) == 2
    assert set(few.identities) < set(more.identities)
    assert few.images == tuple(image for image in training.images if image.identity in set(few.identities))
    turned = Manifest(training.path, training.images[::-1])
    assert set(limit_identities(turned, 2, seed=3).identities) == set(few.identities)


def test_seeds_draw_others(manifest: Manifest) -> None:
    training = manifest.select(split="train")
    drawn = {tuple(sorted(set(limit_identities(training, 2, seed).identities))) for seed in range(8)}
    assert len(drawn) > 1


def test_the_measured_identities_stay_whatever_is_trained_on(manifest: Manifest) -> None:
    whole, part = (
        training_and_validation(manifest, DataSection(train_identities=count, search_identities=2))
        for count in (None, 3)
    )
    assert part[1] == whole[1]
    assert len(set(part[0].identities)) == 3
    assert set(part[0].identities).isdisjoint(part[1].identities)


def test_more_than_there_are_is_an_error(manifest: Manifest) -> None:
    with pytest.raises(InputError, match=r"at most 6, the number of training identities, got 7; lower it"):
        limit_identities(manifest.select(split="train"), 7, seed=0)


def _shots(more: int = 0, without_capture: bool = False) -> Manifest:
    """Eight people with ten shots in both modalities; the first has some more in NIR, that come first in its folder."""
    images = []
    for person in "abcdefgh":
        for modality in ("vis", "nir"):
            extra = more if (person, modality) == ("a", "nir") else 0
            for shot in range(-extra, 10):
                capture = None if without_capture else f"{person}/{shot}"
                path = Path(f"{modality}/{person}/{shot + 10:02}.png")
                images.append(FaceImage(path, person, modality, "train", capture=capture))
    return Manifest(Path("images.csv"), tuple(images))


@pytest.mark.parametrize("more", [0, 1, 2, 5])
def test_fewer_images_of_two_modalities_are_of_the_same_shots(more: int) -> None:
    few = limit_per_identity(_shots(more), 3, seed=0)
    shots = [{image.capture for image in few.select(modality=modality).images} for modality in ("vis", "nir")]
    assert shots[0] == shots[1]
    assert len(shots[0]) == 24


def test_shots_of_one_modality_alone_fill_up() -> None:
    few = limit_per_identity(_shots(2), 11, seed=0)
    counts = [len(few.select(modality=modality, identities={"a"}).images) for modality in ("vis", "nir")]
    assert counts == [10, 11]


def test_equal_counts_of_other_shots_keep_the_shot_they_share() -> None:
    images = tuple(
        FaceImage(Path(f"{modality}/{person}/{shot}.png"), person, modality, "train", capture=f"{person}/{shot}")
        for person in "abcdefgh"
        for modality, shots in (("nir", (1, 2)), ("vis", (2, 3)))
        for shot in shots
    )
    few = limit_per_identity(Manifest(Path("images.csv"), images), 1, seed=0)
    assert [image.path.stem for image in few.images] == ["2"] * 16


def test_one_persons_images_without_captures_leave_the_others_as_they_are() -> None:
    plain, more = (limit_per_identity(_shots(count, without_capture=True), 3, seed=0) for count in (0, 2))
    for one in (plain, more):
        paths = [
            [
                (image.identity, image.path.name)
                for image in one.select(modality=modality).images
                if image.identity > "a"
            ]
            for modality in ("vis", "nir")
        ]
        assert paths[0] == paths[1]


def test_equal_counts_are_drawn_by_place() -> None:
    """The draw of published recipes."""
    generator = np.random.default_rng(4)
    places = {person: set(generator.permutation(10)[:3]) for person in "abcdefgh"}
    for images in (_shots(), _shots(without_capture=True), _shots().select(modality="nir")):
        kept = limit_per_identity(images, 3, seed=4)
        assert kept.images == tuple(
            image for image in images.images if int(image.path.stem) - 10 in places[image.identity]
        )


def test_rows_that_are_listed_twice_are_limited_like_others() -> None:
    rows = tuple(FaceImage(Path(f"{number // 2}.png"), "a", "nir", "train", line=number) for number in range(8))
    assert len(limit_per_identity(Manifest(Path("images.csv"), rows), 3, 0).images) == 3
