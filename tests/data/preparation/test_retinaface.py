"""A RetinaFace of real weights through InsightFace's own class, on real photos."""

from pathlib import Path

import numpy as np
import pytest
from retinaface_onnx import write_retinaface
from shared_data import shared

from facexfer.data.pictures.photos import decode_photo
from facexfer.data.preparation.choose import choose_face
from facexfer.data.preparation.detect import InsightFaceDetector, open_detector
from facexfer.data.preparation.geometry import face_span, geometry_problem


@pytest.mark.slow
def test_retinaface_and_yunet_find_the_same_points(tmp_path: Path) -> None:
    weights = shared("detectors/retinaface_mobilenet0.25_Final.pth")
    detector = open_detector(str(write_retinaface(weights, tmp_path / "det_retinaface.onnx")))
    yunet = open_detector(str(shared("detectors/yunet_n_320_320.onnx")))
    assert isinstance(detector, InsightFaceDetector)
    for number in (1, 20, 40, 59):
        photo = decode_photo(shared(f"data/raw-photos/img{number}.jpg").read_bytes()).pixels
        face, other = (choose_face(each.detect(photo), photo.shape[:2]) for each in (detector, yunet))
        assert geometry_problem(face.landmarks, photo.shape[:2], 8) is None
        distance = np.linalg.norm(face.landmarks - other.landmarks, axis=1).mean()
        assert distance < 0.1 * face_span(other.landmarks)
