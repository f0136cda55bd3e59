"""Which images of a manifest are compared with which."""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facexfer.data.manifest import FaceImage, Manifest
from facexfer.data.pictures.depths import find_depths
from facexfer.data.repeats import distinct_images
from facexfer.errors import DataWarning, InputError
from facexfer.eval.arrays import read_array
from facexfer.eval.identification import enrol, make_templates
from facexfer.eval.pairwise.inputs import pairs_that_share
from facexfer.eval.pairwise.labels import read_labels
from facexfer.eval.pairwise.pairs import PairSet
from facexfer.eval.scores import operating_points
from facexfer.eval.verification import OperatingPoint
from facexfer.measure.embedder import Embedder, embed_pictures

_LONG = 16


@dataclass(frozen=True)
class Side:
    """Embeddings with what is known of their images.

    Attributes:
        embeddings: (N, D), of any length.
        labels: (N,) the identities.
        captures: (N,) of str or None, equal for images of one shot.
        images: (N) the rows of the manifest; empty for embeddings from a file or templates.
        pictures: (N,) of str or None, equal for equal pictures; None where they are not known.
        shots: (N,), equal for images of one shot, person and modality, or None; None where they are not known.
        usual_bits: (N) what pictures of an image's camera use, if they have more than 8 bits; or empty.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    captures: np.ndarray
    images: tuple[FaceImage, ...] = ()
    pictures: np.ndarray | None = None
    shots: np.ndarray | None = None
    usual_bits: tuple[int | None, ...] = ()

    def take(self, places: np.ndarray) -> "Side":
        """Keep the images at these places."""
        images = tuple(self.images[place] for place in places) if self.images else ()
        pictures, shots = (None if each is None else each[places] for each in (self.pictures, self.shots))
        bits = tuple(self.usual_bits[place] for place in places) if self.usual_bits else ()
        return Side(self.embeddings[places], self.labels[places], self.captures[places], images, pictures, shots, bits)

    def keys(self) -> list[list[Hashable]]:
        """What makes a pair of images no evidence when both share it: `pictures` and `shots`, as far as known."""
        nothing: list[Hashable] = [None] * len(self.labels)
        return [nothing if each is None else each.tolist() for each in (self.pictures, self.shots)]


@dataclass(frozen=True)
class Comparison:
    """All pairs within the probes, or all pairs of a gallery and a probe image.

    Attributes:
        name: ``nir`` within a modality, ``vis-nir`` for a VIS gallery against NIR probes.
        probe: The one set, or the probes.
        gallery: The gallery, or None.
        places: For every image that was listed for the one set or the probes, its picture's place in `probe`; None
            where all are there.
    """

    name: str
    probe: Side
    gallery: Side | None = None
    places: tuple[int, ...] | None = None

    def pairs(
        self, device: str = "cpu", groups: np.ndarray | None = None, gallery_groups: np.ndarray | None = None
    ) -> PairSet:
        """The pairs, without those of a picture with itself or of one shot.

        Args:
            device: Where they are scored.
            groups: (N,) of the one set or the probes, as for `PairSet.within`: only pairs within a group count.
            gallery_groups: (G,) of the gallery.

        Raises:
            InputError: If an embedding is not usable or a kind of pair is missing.
        """
        if self.gallery is None:
            left_out = pairs_that_share(self.probe.keys())
            return PairSet.within(self.probe.embeddings, self.probe.labels, device, left_out, groups)
        both = None if groups is None or gallery_groups is None else (gallery_groups, groups)
        return PairSet.against(
            self.gallery.embeddings,
            self.gallery.labels,
            self.probe.embeddings,
            self.probe.labels,
            self.gallery.captures,
            self.probe.captures,
            device,
            pairs_that_share(self.gallery.keys(), self.probe.keys()),
            both,
        )

    def enrolled(self, share: float | None) -> "Comparison":
        """Enrol a part of each identity's captures and look up the others.

        Args:
            share: Of each identity's captures in the gallery (or the one set); None enrols one.

        Returns:
            A comparison with a gallery; no probe is of an enrolled capture.

        Raises:
            InputError: If no one is left to be looked up.
        """
        source = self.gallery if self.gallery is not None else self.probe
        chosen = enrol(source.labels, source.captures, share)
        if self.gallery is None:
            probe = self.probe.take(chosen.probes)
        else:
            shots = {shot for shot in source.captures[chosen.gallery] if shot is not None}
            seen = set(source.take(chosen.gallery).keys()[0]) - {None}
            alike = self.probe.keys()[0]
            free = [
                place
                for place, shot in enumerate(self.probe.captures)
                if (shot is None or shot not in shots) and alike[place] not in seen
            ]
            probe = self.probe.take(np.array(free, dtype=np.int64))
        if not len(probe.labels):
            raise InputError(f"{self.name}: expected images other than the enrolled ones, found none; add captures")
        return Comparison(self.name, probe, source.take(chosen.gallery))

    def with_templates(self) -> "Comparison":
        """Enrol half of each identity's captures as one template, the mean of their unit embeddings."""
        parts = self.enrolled(0.5)
        assert parts.gallery is not None
        templates, names = make_templates(parts.gallery.embeddings, parts.gallery.labels)
        nothing = np.full(len(names), None, dtype=object)
        return Comparison(f"{self.name}, templates", parts.probe, Side(templates, names, nothing))


def embed_side(embedder: Embedder, manifest: Manifest) -> Side:
    """Embed a manifest's images.

    Args:
        embedder: The model.
        manifest: The images.

    Returns:
        The side.

    Raises:
        InputError: If a crop is unfit.
    """
    paths = [image.path for image in manifest.images]
    depths = find_depths(manifest.images)
    usual_bits = tuple(depths.usual(image) for image in manifest.images)
    embeddings, hashes = embed_pictures(embedder, paths, usual_bits)
    labels = np.array([image.identity for image in manifest.images])
    pictures = np.array(hashes, dtype=object)
    return Side(embeddings, labels, manifest.captures(), manifest.images, pictures, usual_bits=usual_bits)


def distinct_side(embedder: Embedder, manifest: Manifest) -> tuple[Side, tuple[int, ...]]:
    """Embed a manifest's images, each picture of a person once.

    Args:
        embedder: The model.
        manifest: The images.

    Returns:
        The side, and for every image that is listed its picture's place in it.

    Raises:
        InputError: If a crop is unfit.

    Warns:
        DataWarning: As for `facexfer.data.repeats.distinct_images`.
    """
    side = embed_side(embedder, manifest)
    assert side.pictures is not None
    distinct = distinct_images(manifest, side.pictures.tolist())
    shots = np.empty(len(distinct.shots), dtype=object)
    shots[:] = distinct.shots
    return replace(side.take(np.array(distinct.kept)), shots=shots), distinct.places


def compare(
    embedder: Embedder,
    manifest: Manifest,
    probe: str | None,
    gallery: str | None,
    gallery_embedder: Embedder | None = None,
) -> Comparison:
    """Embed what a comparison needs.

    Args:
        embedder: The model.
        manifest: The images, of one split.
        probe: The probes' modality; None takes all images as one set.
        gallery: The gallery's modality; None compares the probes among themselves.
        gallery_embedder: Another model for the gallery, whose embeddings can be compared with the first one's.

    Returns:
        The comparison; a picture that is listed again is in it once. A gallery of the probes' own pictures, by the same
        model, is one set: with two sides every pair would count twice.

    Raises:
        InputError: If a modality is not there, a crop is unfit, the two models' embeddings differ in length, or a
            gallery is a part of the probes.

    Warns:
        DataWarning: As for `facexfer.data.repeats.distinct_images`.
    """
    chosen = manifest.select(modality=probe)
    is_one_set = gallery is None or (gallery == probe and gallery_embedder is None)
    enrolled = None if is_one_set else manifest.select(modality=gallery)
    if probe is None and enrolled is not None and len(enrolled.images) < len(chosen.images):
        raise InputError(
            f"expected the probes' modality with the gallery '{gallery}', got none; with all images as probes, "
            "pairs within the gallery would count twice (give --probe)"
        )
    probe_side, places = distinct_side(embedder, chosen)
    if enrolled is None:
        return Comparison(probe or "all", probe_side, places=places)
    gallery_side = distinct_side(gallery_embedder or embedder, enrolled)[0]
    if gallery_embedder is None and _pictured(gallery_side) == _pictured(probe_side):
        return Comparison(probe or "all", probe_side, places=places)
    lengths = [side.embeddings.shape[1] for side in (probe_side, gallery_side)]
    if lengths[0] != lengths[1]:
        raise InputError(
            f"expected embeddings of one length, got {lengths[0]} numbers for probes and {lengths[1]} for the gallery; "
            "the probes' model must be made from the gallery's"
        )
    return Comparison(f"{gallery}-{probe or 'all'}", probe_side, gallery_side, places)


def _pictured(side: Side) -> set[tuple[str, str]]:
    """Whose pictures a side shows."""
    assert side.pictures is not None
    return set(zip(side.labels.tolist(), side.pictures.tolist(), strict=True))


def verify(
    embedder: Embedder, manifest: Manifest, fars: Sequence[float], probe: str | None, gallery: str | None
) -> tuple[OperatingPoint, ...]:
    """Measure a model on images of a manifest.

    Args:
        embedder: The model.
        manifest: The images, of one split.
        fars: The targets, as fractions.
        probe: The probes' modality; None takes all images as one set.
        gallery: The gallery's modality; None compares the probes among themselves.

    Returns:
        One point a target.

    Raises:
        InputError: If a modality is not there, a crop is unfit, or there are no pairs.
    """
    return operating_points(compare(embedder, manifest, probe, gallery).pairs(), fars)


def compare_arrays(
    embeddings: np.ndarray | str | Path,
    labels: np.ndarray | str | Path | None,
    gallery_embeddings: np.ndarray | str | Path | None,
    gallery_labels: np.ndarray | str | Path | None,
) -> Comparison:
    """Prepare embeddings from any model for a comparison.

    Args:
        embeddings: (N, D), an array or a ``.npy`` file.
        labels: Their labels (N,).
        gallery_embeddings: What they are compared with instead of among themselves.
        gallery_labels: Theirs.

    Returns:
        The comparison.

    Raises:
        InputError: If labels are missing or shapes do not fit.

    Warns:
        DataWarning: If an embedding of at least 16 numbers is there twice, bit for bit, or the gallery is the probes:
            they are then compared among themselves.
    """
    if labels is None:
        raise InputError("expected labels with embeddings, got none; give --labels")
    if gallery_embeddings is None and gallery_labels is not None:
        raise InputError("expected the gallery's embeddings with its labels, got none; give --gallery-embeddings")
    if gallery_embeddings is not None and gallery_labels is None:
        raise InputError("expected labels with the gallery's embeddings, got none; give --gallery-labels")
    probe = _side(embeddings, labels)
    if gallery_embeddings is None or gallery_labels is None:
        _warn_of_repeats(probe.embeddings, None)
        return Comparison("embeddings", probe)
    gallery = _side(gallery_embeddings, gallery_labels)
    if np.array_equal(probe.embeddings, gallery.embeddings) and np.array_equal(probe.labels, gallery.labels):
        warnings.warn(
            "the gallery's embeddings are the probes': they are compared among themselves, none with itself; leave the "
            "gallery out",
            DataWarning,
            stacklevel=3,
        )
        return Comparison("embeddings", probe)
    _warn_of_repeats(probe.embeddings, gallery.embeddings)
    return Comparison("gallery-probe", probe, gallery)


def _warn_of_repeats(probe: np.ndarray, gallery: np.ndarray | None) -> None:
    """Warn if embeddings occur twice, bit for bit: no two pictures share a long one."""
    if probe.shape[1] < _LONG:
        return
    rows = [row.tobytes() for row in np.ascontiguousarray(probe)]
    if gallery is None:
        again = len(rows) - len(set(rows))
        where = "the same as another"
    else:
        known = {row.tobytes() for row in np.ascontiguousarray(gallery)}
        again = sum(row in known for row in rows)
        where = "in the gallery too"
    if again:
        warnings.warn(
            f"{again} of {len(rows)} embeddings are {where}, bit for bit: a picture listed twice is paired with "
            "itself, and that pair counts; remove the duplicate",
            DataWarning,
            stacklevel=4,
        )


def _side(embeddings: np.ndarray | str | Path, labels: np.ndarray | str | Path) -> Side:
    vectors, names = read_array(embeddings), read_array(labels)
    if vectors.ndim != 2 or names.shape != vectors.shape[:1]:
        places = [f" in {each}" for each in (embeddings, labels) if not isinstance(each, np.ndarray)]
        first, second = places if len(places) == 2 else ("", "")
        raise InputError(
            f"expected embeddings (N, D) and labels (N,), got {vectors.shape}{first} and {names.shape}{second}; give "
            "one label per row"
        )
    return Side(vectors, read_labels(names, len(names)), np.full(len(names), None, dtype=object))
