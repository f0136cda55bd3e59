"""InsightFace's detection networks, fed and read as its own code does it, in less time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

# Outputs of a network with five points -> (strides in pixels, anchors of a cell).
_FORMS = {9: ((8, 16, 32), 2), 15: ((8, 16, 32, 64, 128), 1)}
# Black that stays beside a photo, in pixels of the input.
_MARGIN = 64


@dataclass(frozen=True)
class Candidates:
    """Faces before the overlapping ones are taken out, the surest first.

    Attributes:
        boxes: (N, 5) float32: left, top, right, bottom in pixels of the image, and the score.
        points: (N, 5, 2) float32 in pixels of the image.
    """

    boxes: np.ndarray
    points: np.ndarray


class InsightFaceNetwork:
    """SCRFD (Guo et al., Sample and Computation Redistribution for Efficient Face Detection, 2021) or RetinaFace.

    The faces are those of InsightFace's ``SCRFD.detect``, which makes the input by ``blobFromImage`` in new memory and
    decodes all 16,800 anchors: a quarter of a detection by ``det_500m.onnx``. It also computes all the black that fills
    a photo up to a square. Here only a margin of it is computed, which moves landmarks by 0.003 pixels in the median of
    61 photos and by 0.12 at most, but for a face that the photo's edge cuts (9 pixels).

    Args:
        session: onnxruntime's, with one input and 9 or 15 outputs.
        size: (width, height) that images are shown at; they keep their aspect, and black fills the rest.
        mean: Taken from pixels 0..255.
        scale: What they are divided by then.
    """

    def __init__(self, session: Any, size: tuple[int, int], mean: float, scale: float) -> None:
        self._session = session
        self._input: str = session.get_inputs()[0].name
        self._strides, self._anchors = _FORMS[len(session.get_outputs())]
        self._width, self._height = size
        self._is_fixed = any(isinstance(length, int) for length in session.get_inputs()[0].shape[2:])
        self._mean, self._scale = np.float32(mean), np.float32(scale)
        self._shown = (0, 0)
        self._blob = np.empty((1, 3, 0, 0), dtype=np.float32)

    def find(self, image: np.ndarray, least: float) -> Candidates:
        """Find faces.

        Args:
            image: (H, W, 3) uint8 RGB.
            least: The score of the faintest.

        Raises:
            ValueError: If the network's outputs do not have the form of a detector's.
        """
        ratio = self._fill(image)
        outputs = self._session.run(None, {self._input: self._blob})
        boxes, points, scores = self._decode(outputs, least)
        order = np.argsort(-scores, kind="stable")
        return Candidates(np.column_stack([boxes / ratio, scores])[order], (points / ratio)[order])

    def _fill(self, image: np.ndarray) -> float:
        """Put an image into the network's input; what it was scaled by."""
        height, width = image.shape[:2]
        if height / width > self._height / self._width:
            shown = (int(self._height / (height / width)), self._height)
        else:
            shown = (self._width, int(self._width * (height / width)))
        if shown != self._shown:
            columns, rows = map(self._computed, shown, (self._width, self._height))
            self._blob = np.full((1, 3, rows, columns), -self._mean / self._scale, dtype=np.float32)
            self._shown = shown
        for plane, target in zip(cv2.split(cv2.resize(image, shown)), self._blob[0], strict=True):
            part = target[: shown[1], : shown[0]]
            np.subtract(plane, self._mean, out=part)
            part *= 1 / self._scale
        return float(shown[1] / height)

    def _computed(self, shown: int, whole: int) -> int:
        """The input's length for a photo of a length in it: whole cells of the largest stride."""
        coarsest = self._strides[-1]
        return whole if self._is_fixed else min(whole, coarsest * math.ceil((shown + _MARGIN) / coarsest))

    def _decode(self, outputs: Sequence[np.ndarray], least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (N, 4), points (N, 5, 2) and scores (N,) in pixels of the input; outputs are distances in strides."""
        count = len(self._strides)
        parts = []
        for number, stride in enumerate(self._strides):
            scores, boxes, points = (outputs[number + kind * count] for kind in range(3))
            rows, columns = (length // stride for length in self._blob.shape[2:])
            if (scores.size, boxes.size, points.size) != tuple(rows * columns * self._anchors * n for n in (1, 4, 10)):
                raise ValueError(f"{scores.size} scores for {rows} x {columns} cells of {self._anchors} anchors")
            chosen = np.flatnonzero(scores.ravel() >= least)
            cells = chosen // self._anchors
            centres = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32) * stride
            distances = boxes.reshape(-1, 4)[chosen] * stride
            corners = np.hstack([centres - distances[:, :2], centres + distances[:, 2:]])
            fives = centres[:, None] + points.reshape(-1, 5, 2)[chosen] * stride
            parts.append((corners, fives, scores.ravel()[chosen]))
        corners, fives, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
        return corners, fives, scores
