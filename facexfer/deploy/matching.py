"""Use a bundle: compare photos, or look a photo up in a folder of people; photos become crops as in `prepare`."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facexfer.data.layouts import LAYOUTS, LayoutOptions
from facexfer.data.layouts.entry import PhotoEntry
from facexfer.data.layouts.walk import count_others, writable_name
from facexfer.data.pictures.depths import Depths, find_depths
from facexfer.data.preparation.crop import CropOptions, CropRecord, cut_face, load_photo
from facexfer.data.preparation.detect import Detector, open_detector
from facexfer.deploy.contract import DETECTOR, GALLERY, MODEL, SAME_SCORE, read_contract
from facexfer.deploy.enrolment import Enrolment
from facexfer.deploy.runtime_files import find_runtime_file, open_runtime, thresholds_of
from facexfer.errors import InputError
from facexfer.eval.unit_length import unit_length
from facexfer.files.links import real_path
from facexfer.files.names import shown_name
from facexfer.measure.embedder import Embedder, OnnxEmbedder

_UNKNOWN = "all"
_SHOWN = 3

_ADVICE = {"wrong-size": "give --detector, or a crop", "unreadable-file": "check the path"}


@dataclass(frozen=True)
class Threshold:
    """Where a bundle draws the line.

    Attributes:
        score: The same person if strictly above, as cosine similarity.
        far: The false accept rate that it was chosen for, on the bundle's data.
    """

    score: float
    far: float

    def accepts(self, score: float) -> bool:
        """Whether a score is above the threshold, by more than two ways of working out one score differ.

        The threshold is the score of an impostor pair, which is not to be accepted.

        Example:
            >>> line = Threshold(0.2979117, 1e-3)
            >>> line.accepts(0.29791175), line.accepts(0.29792)
            (False, True)
        """
        return score > self.score + SAME_SCORE


@dataclass(frozen=True)
class _Camera:
    """What tells of a photo's camera, for `find_depths`."""

    modality: str


class Matcher:
    """A bundle's network (two, where the gallery has its own), its thresholds, and a detector for photos, not crops.

    Args:
        bundle: The folder.
        detector: A detector's file or pack; None takes photos as aligned crops.
        runtime: Embed by the bundle's file for this runtime; None takes ``model.onnx``.
        threads: Of each network; None lets the libraries choose.

    Raises:
        InputError: If the bundle or the detector is damaged, or the bundle has no file for the runtime.
        RunError: If a file of the bundle's that is to be used is not the one that was measured.
    """

    def __init__(
        self, bundle: Path, detector: str | None, runtime: str | None = None, threads: int | None = None
    ) -> None:
        self._contract = read_contract(bundle)
        used = self._used(detector, runtime)
        self._contract.check_files(used)
        of_runtime = () if runtime is None else find_runtime_file(self._contract.content, runtime).files
        self._opened = (*used, *of_runtime)
        self._embedder: Embedder = (
            OnnxEmbedder(bundle / MODEL, threads=threads) if runtime is None else open_runtime(bundle, runtime, threads)
        )
        self._thresholds = thresholds_of(self._contract, runtime)
        gallery = self._contract.gallery
        self._enrolling = self._embedder if gallery is None else OnnxEmbedder(gallery, threads=threads)
        self._detector: Detector | None = None if detector is None else open_detector(detector, threads=threads or 0)
        self._options = CropOptions(self._embedder.input_size, pre_cropped=detector is None)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The files in use of which the bundle records no hash, so that nothing tells whether they were measured."""
        return self._contract.unchecked(self._opened)

    def threshold(self, far: float | None) -> Threshold:
        """The threshold for a FAR, of the file that embeds; for None, at the FAR of the bundle's own operating point.

        Raises:
            InputError: If the bundle has no threshold for it.
        """
        thresholds = self._thresholds
        chosen = self._contract.far if far is None else far
        if chosen is None or chosen not in thresholds:
            known = ", ".join(f"{each:g}" for each in thresholds) or "none"
            raise InputError(
                f"expected a FAR that the bundle has a threshold for ({known}), got {chosen}; export it again"
            )
        return Threshold(thresholds[chosen], chosen)

    def depths_of(self, enrolled: Iterable[Path], probes: Iterable[Path]) -> Depths:
        """Find how many bits photos use that are to be compared: those of one camera with more than 8 are read alike.

        Enrolled people and probes are of two cameras where the bundle compares across modalities, and else of one.

        Args:
            enrolled: The photos of those who are enrolled.
            probes: The others.
        """
        first, second = map(_Camera, self._contract.modalities)
        known, seen = tuple(enrolled), tuple(probes)
        return find_depths([*[first] * len(known), *[second] * len(seen)], [*known, *seen])

    def embed(self, photo: Path | bytes, depths: Depths | None = None, enrolled: bool = False) -> np.ndarray:
        """Embed a photo's face, found as `facexfer.prepare` finds it.

        Args:
            photo: The file, or what would be in it.
            depths: As `depths_of` found them, for photos of more than 8 bits.
            enrolled: Embed it by the gallery's network, where the bundle has one.

        Returns:
            The unit embedding (D,).

        Raises:
            InputError: If the photo is unreadable, without a face, or no crop where there is no detector.
        """
        unit, record = self._embed(_entry(photo), depths, enrolled)
        if unit is None:
            wanted = "an aligned crop" if self._detector is None else "a face"
            advice = _ADVICE.get(record.reason, "take another photo")
            raise InputError(f"{record.name}: expected {wanted}, got {record.reason}: {record.detail}; {advice}")
        return unit

    def enrol(self, photos: Iterable[PhotoEntry], folder: Path, depths: Depths | None = None) -> Enrolment:
        """Enrol people; a photo without a face is listed and ends nothing.

        Args:
            photos: Of `list_people`.
            folder: That they are from.
            depths: As of `embed`.

        Returns:
            Who was enrolled from which photos.

        Raises:
            InputError: If no one can be enrolled.
        """
        found: dict[str, list[np.ndarray]] = {name: [] for name in _subfolders(folder)}
        listed: dict[str, int] = defaultdict(int)
        failures = []
        for entry in photos:
            unit, record = self._embed(entry, depths, enrolled=True)
            if entry.identity:
                listed[entry.identity] += 1
                found.setdefault(entry.identity, [])
            if unit is None:
                failures.append(record)
            else:
                found[entry.identity].append(unit)
        people = {name: unit_length(np.sum(units, axis=0)[None])[0] for name, units in found.items() if units}
        if not people:
            shown = "; ".join(f"{each.name}: {each.reason}: {each.detail}" for each in failures[:_SHOWN])
            more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
            raise InputError(
                f"{folder}: expected at least one usable photo to enrol, all {len(failures)} failed: {shown}{more}"
            )
        counts = {name: (len(units), listed[name]) for name, units in found.items()}
        return Enrolment(people, counts, tuple(failures), count_others(folder))

    def _used(self, detector: str | None, runtime: str | None) -> list[str]:
        """The bundle's files that are opened, by name; a runtime's are checked where they are opened."""
        files = [MODEL] if runtime is None else []
        if self._contract.gallery is not None:
            files.append(GALLERY)
        if detector is not None and real_path(Path(detector)) == real_path(self._contract.folder / DETECTOR):
            files.append(DETECTOR)
        return files

    def _embed(self, entry: PhotoEntry, depths: Depths | None, enrolled: bool) -> tuple[np.ndarray | None, CropRecord]:
        embedder = self._enrolling if enrolled else self._embedder
        if depths is not None:
            modality = self._contract.modalities[0 if enrolled else 1]
            entry = replace(entry, usual_bits=depths.usual(_Camera(modality)))
        crop, record = cut_face(entry, load_photo(entry, self._options), self._options, self._detector)
        return None if crop is None else unit_length(embedder.embed(crop[None]))[0], record


def list_people(folder: Path) -> tuple[PhotoEntry, ...]:
    """List the photos of a folder with a subfolder for each person, as ``facexfer prepare --layout folders`` does.

    Args:
        folder: The folder of people; photos may lie deeper below a person's folder.

    Returns:
        One entry per photo, and one for each that cannot be used.

    Raises:
        InputError: If there is no subfolder, or no photo in any.
    """
    if not _subfolders(folder):
        raise InputError(f"{folder}: expected a subfolder of photos for each person, found none; check the path")
    return tuple(LAYOUTS["folders"](folder, LayoutOptions(_UNKNOWN)))


def _entry(photo: Path | bytes) -> PhotoEntry:
    if isinstance(photo, bytes):
        return PhotoEntry("photo", Path(), "", _UNKNOWN, data=photo)
    problem = ("not-a-file", "a folder or the like") if photo.exists() and not photo.is_file() else None
    return PhotoEntry(str(photo), photo, "", _UNKNOWN, problem=problem)


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    try:
        return sorted({_name(path) for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")})
    except OSError as error:
        raise InputError(f"{folder}: expected a folder of people, got: {error.strerror}; check the path") from error


def _name(path: Path) -> str:
    """As the layout writes it, which lists its photos."""
    return shown_name(writable_name(path.name))
