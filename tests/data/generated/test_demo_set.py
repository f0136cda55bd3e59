"""Generated faces: drawn twice they are the same, and they show what each camera would see."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facexfer.data.generated.captures import draw_capture
from facexfer.data.generated.demo_set import draw_shots, write_demo_set
from facexfer.data.generated.drawing import Drawing, draw_face
from facexfer.data.generated.geometry import Geometry, make_geometry
from facexfer.data.generated.people import Person, draw_person
from facexfer.data.manifest import read_manifest


def drawn(seed: int, **changes: float) -> tuple[Person, Geometry, Drawing]:
    """A frontal shot of a person, as materials."""
    generator = np.random.default_rng(seed)
    person = draw_person(generator)
    capture = draw_capture(person, generator)
    still = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "zoom": 1.0, "shift": (0.0, 0.0), "gaze": (0.0, 0.0), **changes}
    capture = capture.__class__(**{**capture.__dict__, **still})
    geometry = make_geometry(person, capture)
    return person, geometry, draw_face(person, capture, geometry)


def at(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """The mean of 3x3 pixels around a place."""
    return image[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].mean(axis=(0, 1))


def test_the_set_is_the_same_twice_and_a_larger_one_begins_with_it(tmp_path: Path) -> None:
    first, second, larger = (
        write_demo_set(tmp_path / name, train, 1, 2, seed=3) for name, train in (("a", 2), ("b", 2), ("c", 3))
    )
    files = sorted(path.relative_to(first.parent) for path in first.parent.rglob("*.*"))
    assert len(files) == 3 * 2 * 2 + 1
    assert all((first.parent / file).read_bytes() == (second.parent / file).read_bytes() for file in files)
    same = [file for file in files if file.suffix == ".png"]
    assert all((first.parent / file).read_bytes() == (larger.parent / file).read_bytes() for file in same)


def test_the_manifest_says_who_and_which_camera_and_which_shot(tmp_path: Path) -> None:
    images = read_manifest(write_demo_set(tmp_path, 2, 1, 2, seed=0)).images
    assert [(image.identity, image.modality, image.split, image.capture) for image in images[:2]] == [
        ("g0000", "vis", "train", "g0000/0"),
        ("g0000", "nir", "train", "g0000/0"),
    ]
    assert {image.split for image in images if image.identity == "g0002"} == {"val"}
    assert cv2.imread(str(images[0].path)).shape == (112, 112, 3)


def test_people_of_other_numbers_and_seeds_are_others() -> None:
    first, same, number, seed = (draw_shots(*each, shots=1)[0]["vis"] for each in ((0, 0), (0, 0), (0, 1), (1, 0)))
    assert np.array_equal(first, same)
    assert np.abs(first.astype(int) - number).mean() > 5
    assert np.abs(first.astype(int) - seed).mean() > 5


def test_shots_of_one_person_are_closer_than_people() -> None:
    shots = np.stack([[shot["vis"] for shot in draw_shots(0, number, 4)] for number in range(6)]).astype(float)
    own = np.abs(shots[:, 0] - shots[:, 1]).mean()
    other = np.abs(shots[:, 0] - np.roll(shots[:, 1], 1, axis=0)).mean()
    assert own < other


@pytest.mark.parametrize("seed", range(4))
def test_infrared_is_grey_and_fades_towards_the_border(seed: int) -> None:
    shot = draw_shots(0, seed, 1)[0]["nir"]
    assert np.array_equal(shot[:, :, 0], shot[:, :, 2])
    assert shot[40:90, 30:82].mean() > shot[:, :6].mean() + 20


def test_lips_and_skin_tones_come_together_in_infrared() -> None:
    contrast, tones = [], []
    for seed in range(12):
        person, _, drawing = drawn(seed, smile=0.0, mouth_open=0.0)
        if person.beard == "none":
            lip = at(drawing.reflectance, 56, person.mouth_height + 0.5 * person.lower_lip)
            contrast.append(np.abs(lip / person.skin - 1))
        tones.append(person.skin)
    green, infrared = np.mean(contrast, axis=0)[[1, 3]]
    assert infrared < 0.5 * green
    spread = np.std(np.log(tones), axis=0)
    assert spread[3] < 0.3 * spread[1]


def test_an_iris_is_dark_in_infrared_whatever_its_colour() -> None:
    irises = [drawn(seed)[0].iris for seed in range(30)]
    assert max(iris[3] for iris in irises) < 0.35
    assert max(iris[2] for iris in irises) > 0.4


def test_a_turned_head_shows_more_of_one_side() -> None:
    person, _, _ = drawn(1)
    for yaw in (-0.4, 0.4):
        _, geometry, _ = drawn(1, yaw=yaw)
        inside = geometry.outline < 0
        left, right = inside[60, :56].sum(), inside[60, 56:].sum()
        nose = np.abs(geometry.x[round(person.nose_tip)]).argmin() - 56
        assert nose * yaw > 0
        assert (left - right) * yaw > 0
