"""Face detectors behind one small protocol, and how one is opened from a file or a pack's name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from facexfer.data.preparation.insightface_network import InsightFaceNetwork
from facexfer.errors import InputError
from facexfer.files.onnx_refusals import onnx_refusals
from facexfer.files.packs import PACKS, find_pack

# YuNet finds faces of about 10 to 300 pixels: larger photos are shown to it at this longer side.
_LONG_SIDE = 640
_DETECTION_SIZE = (640, 640)
_BLANK = np.zeros((64, 64, 3), dtype=np.uint8)

# What insightface's own code raises of other files.
_NO_DETECTOR: tuple[type[Exception], ...] = (cv2.error, ValueError, IndexError, TypeError)


@dataclass(frozen=True)
class Face:
    """A detected face.

    Attributes:
        box: (left, top, right, bottom) in pixels of the image.
        landmarks: (5, 2) in pixels, in the manifest's order.
        score: The detector's confidence, 0..1.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    score: float


class Detector(Protocol):
    """Finds faces.

    Attributes:
        name: What to record it as.
    """

    name: str

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find faces in an image (H, W, 3) uint8 RGB, the surest first."""
        ...


class YuNetDetector:
    """YuNet through OpenCV (Wu et al., YuNet: A Tiny Millisecond-level Face Detector, 2023).

    Args:
        path: The ONNX file of the OpenCV model zoo.
        min_score: Fainter faces are left out, 0..1.

    Raises:
        InputError: If OpenCV cannot read the file.
    """

    def __init__(self, path: Path, min_score: float) -> None:
        self.name = path.name
        # OpenCV warns at every start that its graph engine has one target only.
        before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), score_threshold=min_score)
        except cv2.error as error:
            raise InputError(f"{path}: expected YuNet in ONNX form, got: {error}; download it again") from error
        finally:
            cv2.utils.logging.setLogLevel(before)
        # Reused memory takes half the time of memory that is new for every photo.
        self._canvas = np.empty(3 * _LONG_SIDE**2, dtype=np.uint8)

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find faces in an image (H, W, 3) uint8 RGB, the surest first."""
        height, width = image.shape[:2]
        scale = min(1.0, _LONG_SIDE / max(height, width))
        shown = image
        if scale < 1:
            target = (max(1, round(width * scale)), max(1, round(height * scale)))
            shown = cv2.resize(shown, target, interpolation=cv2.INTER_AREA)
        shown = cv2.cvtColor(shown, cv2.COLOR_RGB2BGR, dst=self._canvas[: shown.size].reshape(shown.shape))
        self._network.setInputSize((shown.shape[1], shown.shape[0]))
        rows: np.ndarray | None = self._network.detect(shown)[1]
        if rows is None:
            return []
        # A row: box as left, top, width, height; five points from image-left eye to image-right mouth corner; score.
        ratio = np.array([width / shown.shape[1], height / shown.shape[0]])
        faces = [
            Face(_box(row[:2] * ratio, row[2:4] * ratio), row[4:14].reshape(5, 2) * ratio, float(row[14]))
            for row in np.asarray(rows, dtype=np.float64)
        ]
        return sorted(faces, key=lambda face: -face.score)


class InsightFaceDetector:
    """Any detection model of InsightFace (SCRFD, RetinaFace) with five points, opened by its own code.

    Args:
        path: The ONNX file.
        min_score: Fainter faces are left out, 0..1.
        threads: For the network; 0 takes all cores.

    Raises:
        InputError: If the file is no detection model, or one without landmarks.
    """

    def __init__(self, path: Path, min_score: float, threads: int = 0) -> None:
        import onnxruntime
        from insightface.model_zoo import get_model

        self.name = path.name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait busily take the time that decoding and other jobs need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # It warns of every output of another length than the file states, and files state those of one size of input.
        options.log_severity_level = 3
        try:
            self._network: Any = get_model(str(path), providers=["CPUExecutionProvider"], sess_options=options)
        except (*onnx_refusals(), *_NO_DETECTOR) as error:
            raise InputError(f"{path}: expected an ONNX model, got: {error}; download it again") from error
        # Called SCRFD or RetinaFace, by version; both have the same form.
        if getattr(self._network, "taskname", "") != "detection" or not self._network.use_kps:
            raise InputError(
                f"{path}: expected an InsightFace detection model with five points; give a det_*.onnx file"
            )
        size = None if self._network.input_size else _DETECTION_SIZE
        self._network.prepare(-1, input_size=size, det_thresh=min_score)
        self._min_score = min_score
        self._finder = InsightFaceNetwork(
            self._network.session, self._network.input_size, self._network.input_mean, self._network.input_std
        )

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find faces in an image (H, W, 3) uint8 RGB, the surest first."""
        found = self._finder.find(image, self._min_score)
        return [
            Face(
                (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                np.asarray(five, np.float64),
                float(box[4]),
            )
            for box, five in ((found.boxes[number], found.points[number]) for number in self._network.nms(found.boxes))
        ]


@dataclass(frozen=True)
class DetectorFile:
    """A detector that is not open yet; unlike an open one it can be given to another process.

    Attributes:
        path: The ONNX file.
        form: ``yunet`` or ``insightface``.
    """

    path: Path
    form: str

    def open(self, min_score: float = 0.6, threads: int = 0) -> Detector:
        """Open the detector, and look once with it.

        Args:
            min_score: Fainter faces are left out, 0..1.
            threads: For InsightFace's models; 0 takes all cores.

        Returns:
            The detector.

        Raises:
            InputError: If the file is no detection model.
        """
        detector: Detector
        if self.form == "yunet":
            detector = YuNetDetector(self.path, min_score)
        else:
            detector = InsightFaceDetector(self.path, min_score, threads)
        try:
            detector.detect(_BLANK)
        except (*onnx_refusals(), *_NO_DETECTOR) as error:
            raise InputError(
                f"{self.path}: expected a detector, it fails on a blank picture: {error}; give YuNet, SCRFD or "
                "RetinaFace"
            ) from error
        return detector


def find_detector(model: str) -> DetectorFile:
    """Find a detector and tell its form.

    Args:
        model: An ONNX file (YuNet or an InsightFace detection model; told apart by its outputs), or the name of an
            InsightFace pack such as ``buffalo_sc``, which insightface itself downloads if it is not there yet.

    Returns:
        The file.

    Raises:
        InputError: If there is no such file or pack, or it is no detection model with five points.
    """
    path = Path(model)
    if path.suffix != ".onnx":
        folder = find_pack(model)
        found = sorted(folder.rglob("det_*.onnx"))
        if not found:
            raise InputError(
                f"expected a detector's .onnx file or an InsightFace pack, got '{model}'; there is no det_*.onnx in "
                f"{folder} (published packs: {', '.join(sorted(PACKS))})"
            )
        path = found[0]
    if not path.is_file():
        raise InputError(f"{path}: expected a detector's ONNX file, found none; check the path")
    outputs = _output_names(path)
    if any(name.startswith("kps_") for name in outputs) and len(outputs) == 12:
        return DetectorFile(path, "yunet")
    if len(outputs) in (9, 15):
        return DetectorFile(path, "insightface")
    raise InputError(
        f"{path}: expected a detector with five points (YuNet 12 outputs, InsightFace 9 or 15), got {len(outputs)}"
    )


def open_detector(model: str, min_score: float = 0.6, threads: int = 0) -> Detector:
    """Find a detector and open it; see `find_detector` and `DetectorFile.open`."""
    return find_detector(model).open(min_score, threads)


def _output_names(path: Path) -> list[str]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError) as error:
        raise InputError(f"{path}: expected an ONNX model, got: {error}; download it again") from error
    return [output.name for output in model.graph.output]


def _box(corner: np.ndarray, extent: np.ndarray) -> tuple[float, float, float, float]:
    left, top = corner.tolist()
    right, bottom = (corner + extent).tolist()
    return left, top, right, bottom
