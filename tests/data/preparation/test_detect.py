"""Detectors behind their protocol, which face is chosen, and the second looks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from shared_data import shared

from facexfer.data.pictures.photos import PhotoError, decode_photo
from facexfer.data.preparation.choose import CHOICES, choose_face
from facexfer.data.preparation.detect import Face, InsightFaceDetector, open_detector
from facexfer.data.preparation.rescue import find_faces
from facexfer.errors import InputError

POINTS = np.array([(10.0, 10), (30, 10), (20, 20), (12, 30), (28, 30)])


def write_bright_cell_detector(path: Path, landmarks: bool = True) -> Path:
    """Write a network with SCRFD's nine outputs (six without points) that finds cells brighter than mid-grey."""
    nodes, outputs, constants = [], [], []

    def constant(name: str, value):
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    nodes.append(helper.make_node("ReduceMean", ["image", constant("channel", np.array([1]))], ["grey"], keepdims=1))
    kinds = (("score", 1), ("bbox", 4), ("kps", 10)) if landmarks else (("score", 1), ("bbox", 4))
    for kind, width in kinds:
        for stride in (8, 16, 32):
            cells, name = (640 // stride) ** 2, f"{kind}_{stride}"
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [2 * cells, width]))
            if kind == "score":
                nodes.append(
                    helper.make_node(
                        "AveragePool", ["grey"], [f"p{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
                    )
                )
                # Two anchors a cell; only the finest stride answers, and only its first anchor.
                nodes.append(
                    helper.make_node(
                        "Reshape", [f"p{stride}", constant(f"s{stride}", np.array([-1, 1]))], [f"r{stride}"]
                    )
                )
                answer = np.array([[1.0, 0.0] if stride == 8 else [0.0, 0.0]], np.float32)
                nodes.append(helper.make_node("Mul", [f"r{stride}", constant(f"a{stride}", answer)], [f"m{stride}"]))
                nodes.append(helper.make_node("Reshape", [f"m{stride}", f"s{stride}"], [name]))
                continue
            row = [2.0, 2, 2, 2] if kind == "bbox" else [-1.0, -1, 1, -1, 0, 0, -1, 1, 1, 1]
            nodes.append(
                helper.make_node(
                    "Identity", [constant(f"c_{name}", np.tile(np.array(row, np.float32), (2 * cells, 1)))], [name]
                )
            )
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 640, 640])
    graph = helper.make_graph(nodes, "cells", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


@pytest.mark.slow
def test_an_insightface_model_finds_what_its_network_says(tmp_path: Path) -> None:
    detector = open_detector(str(write_bright_cell_detector(tmp_path / "det.onnx")))
    assert isinstance(detector, InsightFaceDetector)
    image = np.zeros((320, 320, 3), np.uint8)
    # Shown at twice its size: cell (20, 10) of stride 8 covers rows 80..83 and columns 40..43 of the photo.
    image[80:84, 40:44] = 255
    (face,) = detector.detect(image)
    assert 0.6 < face.score <= 1
    assert face.box == pytest.approx((32, 72, 48, 88))
    np.testing.assert_allclose(face.landmarks, [(36, 76), (44, 76), (40, 80), (36, 84), (44, 84)])
    assert detector.detect(np.zeros((100, 200, 3), np.uint8)) == []


@pytest.mark.slow
def test_a_pack_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from insightface.utils import storage

    monkeypatch.setenv("HOME", str(tmp_path))
    packs = tmp_path / ".insightface" / "models"
    (packs / "mine" / "mine").mkdir(parents=True)
    write_bright_cell_detector(packs / "mine" / "mine" / "det_500m.onnx")
    (packs / "mine" / "genderage.onnx").write_bytes(b"not looked at")
    assert open_detector("mine").name == "det_500m.onnx"
    with pytest.raises(InputError, match="or an InsightFace pack, got 'other'; there is no det_"):
        open_detector("other")

    def refuse(*_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(storage, "ensure_available", refuse)
    with pytest.raises(InputError, match="a network connection to download the pack 'buffalo_sc', got: no route"):
        open_detector("buffalo_sc")
    monkeypatch.setattr(storage, "ensure_available", lambda *_: str(packs / "mine"))
    assert open_detector("buffalo_sc").name == "det_500m.onnx"


def test_a_detector_without_points_is_refused(tmp_path: Path) -> None:
    path = write_bright_cell_detector(tmp_path / "det.onnx", landmarks=False)
    with pytest.raises(InputError, match="expected a detector with five points .* got 6"):
        open_detector(str(path))


def test_a_network_that_only_looks_like_a_detector_is_refused(tmp_path: Path) -> None:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 640, 640])
    outputs = [helper.make_tensor_value_info(f"o{number}", TensorProto.FLOAT, None) for number in range(9)]
    nodes = [helper.make_node("Identity", ["image"], [output.name]) for output in outputs]
    graph = helper.make_graph(nodes, "nine", [image], outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "d.onnx")
    with pytest.raises(InputError, match=r"d\.onnx: expected a detector, it fails on a blank picture"):
        open_detector(str(tmp_path / "d.onnx"))
    with pytest.raises(InputError, match="expected an ONNX model"):
        InsightFaceDetector(write_junk(tmp_path / "junk.onnx"), 0.6)


def write_junk(path: Path) -> Path:
    path.write_bytes(b"no model")
    return path


@dataclass
class Listening:
    """A detector that finds one face in the pictures that a test wants it to, and keeps what it was shown."""

    finds: Callable[[np.ndarray], bool]
    name: str = "listening"
    shown: list = field(default_factory=list)

    def detect(self, image: np.ndarray) -> list[Face]:
        self.shown.append(image)
        return [Face((10, 10, 30, 30), POINTS, 0.9)] if self.finds(image) else []


@pytest.mark.parametrize(
    ("finds", "retry"),
    [
        (lambda image: True, ""),
        (lambda image: image.shape == (100, 120, 3) and image.std() > 8, "equalised"),
        (lambda image: image.shape == (220, 240, 3), "padded"),
        (lambda image: image.shape == (220, 240, 3) and image[60:160, 60:180].std() > 8, "padded-equalised"),
        (lambda image: image.shape[0] > 400, "enlarged"),
        (lambda image: False, ""),
    ],
)
def test_every_retry_is_named_and_comes_back_to_the_photo(finds: Callable[..., Any], retry: str) -> None:
    faint = np.random.default_rng(0).integers(100, 112, (100, 120, 3), dtype=np.uint8)
    detector = Listening(finds)
    faces, found_by = find_faces(detector, faint)
    assert found_by == retry
    if faces:
        wanted = {"": 0, "equalised": 0, "padded": 60, "padded-equalised": 60, "enlarged": 120}[retry]
        scale = 2 if retry == "enlarged" else 1
        np.testing.assert_allclose(faces[0].landmarks, (POINTS - wanted) / scale)


def test_second_looks_stay_small_whatever_the_photo() -> None:
    detector = Listening(lambda image: False)
    find_faces(detector, np.zeros((20, 60_000, 3), np.uint8))
    assert max(image.size for image in detector.shown[1:]) <= 3 * 2560 * 2560


def face(left: int, top: int, side: int, score: float = 0.5) -> Face:
    return Face((left, top, left + side, top + side), POINTS, score)


@pytest.mark.parametrize(("choice", "winner"), [("largest-central", 1), ("largest", 0), ("central", 2), ("surest", 3)])
def test_which_face_is_meant(choice: str, winner: int) -> None:
    faces = [face(0, 0, 60), face(70, 70, 50), face(95, 95, 10), face(180, 180, 10, 0.9)]
    assert choose_face(faces, (200, 200), choice) is faces[winner]


def test_one_face_or_none() -> None:
    assert choose_face([face(0, 0, 9)], (200, 200), "only").box[2] == 9
    with pytest.raises(PhotoError, match="several-faces: 2 faces"):
        choose_face([face(0, 0, 9)] * 2, (200, 200), "only")
    with pytest.raises(PhotoError, match="no-face"):
        choose_face([], (200, 200))
    assert set(CHOICES) == {"largest-central", "largest", "central", "surest", "only"}


def test_large_photos_are_shown_smaller_and_points_come_back() -> None:
    detector = open_detector(str(shared("detectors/yunet_n_320_320.onnx")))
    image = decode_photo(shared("data/raw-photos/img1.jpg").read_bytes()).pixels
    large = np.repeat(np.repeat(image, 3, axis=0), 3, axis=1)
    small_face, large_face = detector.detect(image)[0], detector.detect(large)[0]
    assert np.abs(large_face.landmarks / 3 - small_face.landmarks).max() < 3
