"""Use a bundle: compare two photos, or look a photo up in a folder of people."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facexfer.data.images import read_crop, read_rgb
from facexfer.data.preparation.align import align
from facexfer.data.preparation.choose import choose_face
from facexfer.data.preparation.detect import Detector, open_detector
from facexfer.deploy.contract import MODEL, read_contract
from facexfer.deploy.runtime_files import open_runtime
from facexfer.errors import InputError
from facexfer.eval.unit_length import unit_length
from facexfer.measure.embedder import Embedder, OnnxEmbedder

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".pgm", ".webp")


@dataclass(frozen=True)
class Threshold:
    """Where a bundle draws the line.

    Attributes:
        score: The same person if strictly above, as cosine similarity.
        far: The false accept rate that it was chosen for, on the bundle's data.
    """

    score: float
    far: float


class Matcher:
    """A bundle's network, its thresholds, and a detector for photos that are no crops.

    Args:
        bundle: The folder.
        detector: A detector's file or pack; None takes photos as aligned crops.
        runtime: Embed by the bundle's file for this runtime; None takes ``model.onnx``.

    Raises:
        InputError: If the bundle or the detector is damaged, or the bundle has no file for the runtime.
    """

    def __init__(self, bundle: Path, detector: str | None, runtime: str | None = None) -> None:
        self._contract = read_contract(bundle)
        self._embedder: Embedder = OnnxEmbedder(bundle / MODEL) if runtime is None else open_runtime(bundle, runtime)
        self._detector: Detector | None = None if detector is None else open_detector(detector)

    def threshold(self, far: float | None) -> Threshold:
        """Give the threshold for a FAR, that of the bundle's own operating point for None.

        Raises:
            InputError: If the bundle has no threshold for it.
        """
        thresholds = self._contract.thresholds
        chosen = self._contract.far if far is None else far
        if chosen is None or chosen not in thresholds:
            known = ", ".join(f"{each:g}" for each in thresholds) or "none"
            raise InputError(
                f"expected a FAR that the bundle has a threshold for ({known}), got {chosen}; export it anew"
            )
        return Threshold(thresholds[chosen], chosen)

    def embed(self, photo: Path) -> np.ndarray:
        """Give the unit embedding (D,) of a photo's face.

        Raises:
            InputError: If the photo is unreadable, without a face, or no crop where there is no detector.
        """
        size = self._embedder.input_size
        if self._detector is None:
            crop = read_crop(photo, size)
        else:
            image = read_rgb(photo)
            faces = self._detector.detect(image)
            if not faces:
                raise InputError(f"{photo}: expected a face, {self._detector.name} finds none; take another photo")
            crop = align(image, choose_face(faces, image.shape[:2]).landmarks, size)
        unit: np.ndarray = unit_length(self._embedder.embed(crop[None]))[0]
        return unit

    def enrol(self, folder: Path) -> dict[str, np.ndarray]:
        """Enrol people: one subfolder of photos each.

        Args:
            folder: The folder of people.

        Returns:
            Name -> the unit mean of the embeddings, (D,).

        Raises:
            InputError: If there is nobody.
        """
        people = {}
        for person in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ():
            photos = sorted(path for path in person.iterdir() if path.suffix.lower() in _PICTURES)
            if photos:
                people[person.name] = unit_length(np.sum([[self.embed(photo)] for photo in photos], axis=0))[0]
        if not people:
            raise InputError(f"{folder}: expected a subfolder of photos for each person, found none; check the path")
        return people
