"""Alignment against InsightFace's own, and the guard's names."""

import numpy as np
import pytest
from insightface.utils import face_align
from shared_data import shared

from facexfer.data.pictures.photos import PhotoError, decode_photo
from facexfer.data.preparation.align import align, similarity, template
from facexfer.data.preparation.choose import choose_face
from facexfer.data.preparation.detect import open_detector
from facexfer.data.preparation.geometry import geometry_problem
from facexfer.data.preparation.rescue import find_faces
from facexfer.errors import InputError

FACE = template() * 2 + 20
FRAME = (300, 300)


@pytest.mark.filterwarnings("ignore:.*estimate.*is deprecated:FutureWarning")
def test_crops_equal_norm_crop_within_one_grey_level() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    for _ in range(20):
        points = (FACE + generator.normal(0, 6, (5, 2))).astype(np.float32)
        ours, theirs = align(image, points), face_align.norm_crop(image, points)
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_the_narrow_crop_is_the_middle_of_the_square_one() -> None:
    image = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    narrow, square = align(image, FACE, (112, 96)), align(image, FACE)
    assert np.abs(narrow.astype(int) - square[:, 8:104].astype(int)).max() <= 1


def test_two_eyes_are_taken_exactly() -> None:
    moved = FACE[:2] @ (matrix := similarity(FACE[:2]))[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(moved, template()[:2])


@pytest.mark.parametrize(
    ("points", "message"),
    [(np.zeros((68, 2)), r"shape \(5, 2\) or \(2, 2\), got \(68, 2\)"), (np.ones((5, 2)), "all are in one")],
)
def test_landmarks_that_fit_nothing_are_errors(points: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        similarity(points)


def test_another_crop_size_is_an_error() -> None:
    with pytest.raises(InputError, match="112x112 or 112x96 .*got 128x128"):
        template((128, 128))


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        (FACE, None),
        (FACE[:2], None),
        (np.where(np.arange(10).reshape(5, 2) == 3, np.nan, FACE), "landmarks-not-finite"),
        (np.repeat(FACE[:1], 5, axis=0), "landmarks-coincident"),
        (np.linspace((50, 50), (150, 190), 5), "landmarks-collinear"),
        (FACE * (-1, 1) + (300, 0), "landmarks-mirrored"),
        (FACE[1::-1], "landmarks-mirrored"),
        (FACE + 200, "landmarks-out-of-frame"),
        (FACE / 20, "face-too-small"),
    ],
)
def test_the_guard_names_what_is_wrong(points: np.ndarray, problem: str | None) -> None:
    assert geometry_problem(points, FRAME, 8) == problem


def test_an_upside_down_face_is_not_mirrored() -> None:
    assert geometry_problem(300 - FACE, FRAME, 8) is None


def test_yunet_finds_a_real_face_and_no_face_in_grey() -> None:
    detector = open_detector(str(shared("detectors/yunet_n_320_320.onnx")))
    image = decode_photo(shared("data/raw-photos/img1.jpg").read_bytes()).pixels
    faces, retry = find_faces(detector, image)
    face = choose_face(faces, image.shape[:2])
    assert retry == ""
    assert geometry_problem(face.landmarks, image.shape[:2], 8) is None
    with pytest.raises(PhotoError, match="no-face"):
        choose_face(find_faces(detector, np.full((200, 200, 3), 90, np.uint8))[0], (200, 200))


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty-file"), (b"no image", "not-an-image"), (b"\xff\xd8\xff\xe0" * 9, "not-an-image")]
)
def test_files_that_are_no_photos_have_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(PhotoError) as caught:
        decode_photo(data)
    assert caught.value.reason == reason
