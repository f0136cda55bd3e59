"""Which pairs the held-out people make, counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from facexfer.advice.measurable import _across, measurable_pairs
from facexfer.data.manifest import FaceImage, Manifest
from facexfer.errors import InputError
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.recipe import PairsSection


def people(count: int, *shots) -> Manifest:
    """List some people's images, each shot a modality and a capture."""
    return Manifest(
        Path("m.csv"),
        tuple(
            FaceImage(Path(f"{name}-{number}"), f"p{name}", modality, "val", capture=capture and f"{name}/{capture}")
            for name in range(count)
            for number, (modality, capture) in enumerate(shots)
        ),
    )


def test_pairs_within_across_and_in_visible_light() -> None:
    found = measurable_pairs(people(5, ("nir", "a"), ("nir", "b"), ("vis", "a"), ("vis", "c")), ("nir", "vis"))
    assert [pairs.name for pairs in found.pairs] == ["nir", "vis-nir", "vis"]
    # Ten pictures make 45 pairs, five of one person each.
    assert found.impostor_pairs == 40
    assert found.fars == (0.1,)


def test_pairs_of_one_shot_are_none() -> None:
    found = measurable_pairs(people(6, ("nir", "a"), ("vis", "a"), ("vis", "b")), ("nir", "vis"))
    assert found.pairs == (PairsSection(gallery="vis", probe="nir"), PairsSection(probe="vis"))
    with pytest.raises(InputError, match="expected held-out people with pairs to measure"):
        measurable_pairs(people(6, ("nir", "a"), ("nir", "a")), ("nir",))


def test_more_people_support_a_lower_rate() -> None:
    assert measurable_pairs(people(80, ("nir", None), ("nir", None)), ("nir",)).fars == (1e-2, 1e-3, 1e-4)
    with pytest.raises(InputError, match="got 2 people with 4 pictures; hold out more"):
        measurable_pairs(people(2, ("nir", None), ("nir", None)), ("nir",))


def test_captures_numbered_by_person_are_counted_as_the_evaluation_counts_them() -> None:
    def numbered(modality: str) -> list[FaceImage]:
        return [
            FaceImage(Path(f"{modality}{person}-{shot}"), f"p{person}", modality, "val", capture=str(shot))
            for person in range(5)
            for shot in range(5)
        ]

    gallery, probe = numbered("vis"), numbered("nir")
    found = measurable_pairs(Manifest(Path("m.csv"), (*gallery, *probe)), ("nir", "vis"))
    assert [pairs.name for pairs in found.pairs] == ["nir", "vis-nir", "vis"]
    vectors = np.random.default_rng(0).normal(size=(2, 25, 8))
    (labels, captures), (of_probe, of_shot) = (
        (np.array([image.identity for image in side]), np.array([image.capture for image in side], dtype=object))
        for side in (gallery, probe)
    )
    pairs = PairSet.against(vectors[0], labels, vectors[1], of_probe, captures, of_shot)
    assert _across(gallery, probe) == (pairs.genuine_pairs, pairs.impostor_pairs) == (100, 400)
