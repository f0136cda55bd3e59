"""Fewer identities to train on: the draw is nested, reproducible, and never touches who is measured."""

from pathlib import Path

import pytest
from small_faces import write_small_set

from facexfer.data.manifest import Manifest, read_manifest
from facexfer.data.splits import limit_identities
from facexfer.errors import InputError
from facexfer.recipe import DataSection
from facexfer.tasks.face_images import training_and_validation


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
