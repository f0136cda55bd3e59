"""One photo to one crop: the steps in their order, each failure with its reason."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.pictures.photos import MAX_PIXELS, PhotoError, decode_photo
from facexfer.data.preparation.align import similarity, warp
from facexfer.data.preparation.choose import choose_face
from facexfer.data.preparation.detect import Detector
from facexfer.data.preparation.geometry import geometry_problem, sharpness
from facexfer.data.preparation.rescue import find_faces
from facexfer.errors import RunError
from facexfer.files.atomic import write_bytes

_MAX_BYTES = 2**29
_ORDINARY_BITS = 8


@dataclass(frozen=True)
class CropOptions:
    """How photos become crops.

    Attributes:
        size: (height, width) of a crop in pixels.
        choice: Which of several faces, one of ``CHOICES``.
        min_eye_distance: In pixels of the photo; below it a face is too small.
        min_sharpness: See `sharpness`; below it a face is too blurred.
        max_pixels: Larger photos are refused from their header.
        pre_cropped: The photos are aligned crops already.
    """

    size: tuple[int, int] = (112, 112)
    choice: str = "largest-central"
    min_eye_distance: float = 8.0
    min_sharpness: float = 0.01
    max_pixels: int = MAX_PIXELS
    pre_cropped: bool = False


@dataclass(frozen=True)
class CropRecord:
    """What became of one photo; a line of the journal.

    Attributes:
        name: The entry's.
        reason: Empty for a crop, else the failure's name.
        detail: What was found, in one line.
        bytes_hash: SHA-256 of the file's bytes, empty if they were not read.
        pixels_hash: SHA-256 of every fourth row of the decoded pixels, empty if they could not be decoded.
        landmarks: Five points or two eyes in pixels of the crop; empty if not known.
        score: The detector's, 0..1; None without a detector.
        retry: What found the face: empty for the first look.
        faces: How many were found; None without a detector.
        transform: The six numbers of the 2x3 matrix from photo to crop, row by row.
        stamp: Size and time of the source file, by which a resumed run knows it again.
        given: The landmarks that the layout had for it, for the same reason.
        bits: By how many bits a photo of more than 8 was read; None for one of 8.
        usual_bits: What its camera's photos were found to use then.
        crop: The crop's name; empty in journals of older versions.
    """

    name: str
    reason: str = ""
    detail: str = ""
    bytes_hash: str = ""
    pixels_hash: str = ""
    landmarks: tuple[tuple[float, float], ...] = ()
    score: float | None = None
    retry: str = ""
    faces: int | None = None
    transform: tuple[float, ...] = ()
    stamp: tuple[int, int] = (0, 0)
    given: tuple[tuple[float, float], ...] = ()
    bits: int | None = None
    usual_bits: int | None = None
    crop: str = ""


@dataclass(frozen=True)
class LoadedPhoto:
    """A photo that has been read.

    Attributes:
        record: What is known of it so far; with a reason if it could not be read or decoded.
        image: (H, W, 3) uint8 RGB, None with a reason.
    """

    record: CropRecord
    image: np.ndarray | None = None


def load_photo(entry: PhotoEntry, options: CropOptions) -> LoadedPhoto:
    """Read and decode one photo.

    Args:
        entry: The photo.
        options: How.

    Returns:
        The photo; whatever is wrong with it is in its record and never an exception.
    """
    record = CropRecord(
        entry.name, stamp=file_stamp(entry.source), given=entry.landmarks or (), usual_bits=entry.usual_bits
    )
    try:
        if entry.problem is not None:
            raise PhotoError(*entry.problem)
        data = _read(entry, record.stamp[0])
        record = replace(record, bytes_hash=hashlib.sha256(data).hexdigest())
        photo = decode_photo(data, options.max_pixels, usual_bits=entry.usual_bits)
    except PhotoError as error:
        return LoadedPhoto(replace(record, reason=error.reason, detail=error.detail))
    bits = photo.bits if photo.bits > _ORDINARY_BITS else None
    return LoadedPhoto(replace(record, pixels_hash=_pixels_hash(photo.pixels), bits=bits), photo.pixels)


def cut_face(
    entry: PhotoEntry, photo: LoadedPhoto, options: CropOptions, detector: Detector | None
) -> tuple[np.ndarray | None, CropRecord]:
    """Detect, choose and align: the one way from a photo to a crop.

    Args:
        entry: The photo.
        photo: What `load_photo` gave for it.
        options: How.
        detector: None if the landmarks are given or the photos are crops already.

    Returns:
        The crop (height, width, 3) uint8 RGB or None, and the record; whatever is wrong with the photo
        is in it and never an exception.
    """
    if photo.image is None:
        return None, photo.record
    try:
        return _crop(entry, photo.image, options, detector, photo.record)
    except PhotoError as error:
        return None, replace(photo.record, reason=error.reason, detail=error.detail)


def crop_photo(
    entry: PhotoEntry, photo: LoadedPhoto, target: Path, options: CropOptions, detector: Detector | None
) -> CropRecord:
    """Make one crop and write it, or record why it could not be made.

    Args:
        entry: The photo.
        photo: What `load_photo` gave for it.
        target: The PNG to write, atomically.
        options: How.
        detector: None if the landmarks are given or the photos are crops already.

    Returns:
        The record; whatever is wrong with the photo is in it and never an exception.

    Raises:
        RunError: If the crop cannot be written.
    """
    crop, record = cut_face(entry, photo, options, detector)
    try:
        if crop is not None:
            write_png(target, crop)
        elif entry.problem is None:
            # The photo may have been changed since an earlier run, which made a crop of it.
            target.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"{target}: expected to write a crop, got: {error.strerror}; free space, then run the same command again"
        ) from error
    return record


def file_stamp(path: Path) -> tuple[int, int]:
    """A file's size and modification time in nanoseconds, (0, 0) for a missing file."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # A name with a NUL byte is no file's.
        return 0, 0
    return status.st_size, status.st_mtime_ns


def write_png(target: Path, image: np.ndarray) -> None:
    """Write an image (H, W, 3) uint8 RGB, atomically."""
    data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    try:
        write_bytes(target, data)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, data)


def _read(entry: PhotoEntry, size: int) -> bytes:
    if entry.span is None and entry.data is None and size > _MAX_BYTES:
        raise PhotoError("file-too-large", f"{size} bytes, more than {_MAX_BYTES}")
    try:
        return entry.read()
    except (OSError, ValueError, MemoryError) as error:  # A name with a NUL byte is no file's.
        raise PhotoError("unreadable-file", getattr(error, "strerror", None) or type(error).__name__) from error


def _crop(
    entry: PhotoEntry, image: np.ndarray, options: CropOptions, detector: Detector | None, record: CropRecord
) -> tuple[np.ndarray, CropRecord]:
    if options.pre_cropped:
        if image.shape[:2] != options.size:
            raise PhotoError("wrong-size", f"{_text(image.shape)}, expected {_text(options.size)}")
        return image, replace(record, landmarks=entry.landmarks or ())
    landmarks = entry.points()
    if landmarks is None:
        if detector is None:
            raise PhotoError("no-landmarks", "the layout gives none for this photo and there is no detector")
        try:
            faces, retry = find_faces(detector, image)
        except cv2.error as error:
            raise PhotoError("detector-failed", " ".join(str(error).split())) from error
        face = choose_face(faces, image.shape[:2], options.choice)
        landmarks = face.landmarks
        record = replace(record, score=round(face.score, 4), retry=retry, faces=len(faces))
    problem = geometry_problem(landmarks, image.shape[:2], options.min_eye_distance)
    if problem:
        raise PhotoError(problem, f"landmarks {np.round(landmarks, 1).tolist()} in {_text(image.shape)}")
    matrix = similarity(landmarks, options.size)
    crop = warp(image, matrix, options.size)
    sharp = sharpness(crop)
    if sharp < options.min_sharpness:
        raise PhotoError("face-too-blurred", f"sharpness {sharp:.3f}, expected at least {options.min_sharpness:g}")
    moved = landmarks @ matrix[:, :2].T + matrix[:, 2]
    places = tuple((round(float(x), 3), round(float(y), 3)) for x, y in moved)
    return crop, replace(record, landmarks=places, transform=tuple(matrix.ravel().tolist()))


def _pixels_hash(image: np.ndarray) -> str:
    # Every fourth row tells photos apart as well as all of them, in a quarter of the time.
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image[::4]).data)
    return digest.hexdigest()


def _text(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]}"
