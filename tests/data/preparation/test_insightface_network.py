"""The finder of faces against InsightFace's own code, with its networks and real photos."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from retinaface_onnx import write_retinaface
from shared_data import shared

from facexfer.data.pictures.photos import decode_photo
from facexfer.data.preparation.detect import InsightFaceDetector


@pytest.mark.slow
@pytest.mark.parametrize("name", ["det_500m.onnx", "scrfd_2.5g_kps.onnx", "retinaface_mobilenet0.25_Final.pth"])
def test_faces_are_those_of_insightface(name: str, tmp_path: Path) -> None:
    file = shared(f"detectors/{name}")
    if file.suffix == ".pth":
        file = write_retinaface(file, tmp_path / "det_retinaface.onnx")
    detector = InsightFaceDetector(file, 0.5)
    photos = [decode_photo(shared(f"data/raw-photos/img{number}.jpg").read_bytes()).pixels for number in (54, 1, 20)]
    # Lying, upright, small and without a face, in this order: what one photo leaves behind must not be seen by another.
    shown = [photos[0], photos[1].transpose(1, 0, 2)[:, :80], photos[1], photos[2][::3, ::3], photos[0] // 8 * 8]
    for photo in map(np.ascontiguousarray, shown):
        bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
        boxes, points = detector._network.detect(bgr, input_size=detector._network.input_size)
        faces = detector.detect(photo)
        assert len(faces) == len(boxes)
        for face, box, five in zip(faces, boxes, points, strict=True):
            assert face.score == pytest.approx(box[4], abs=2e-3)
            assert face.box == pytest.approx(tuple(box[:4]), abs=0.2)
            np.testing.assert_allclose(face.landmarks, five, atol=0.2)
