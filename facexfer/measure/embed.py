"""Embed whatever a user has: arrays of crops, a folder of crops or photos, a manifest."""

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import overload

import numpy as np

from facexfer.data.manifest import Manifest
from facexfer.data.preparation.crop import CropOptions
from facexfer.data.preparation.prepare import prepare
from facexfer.errors import DataWarning, InputError, first_of
from facexfer.measure.embedder import Embedder, Model, embed_images, load
from facexfer.measure.faces import as_image, find_faces, find_photos
from facexfer.measure.pair_sets import Side, embed_side

_BATCH = 64
# What a layout says of a picture in no person's folder.
_NO_IDENTITY = "no-identity"
_SHOWN = 5


@overload
def embed(
    model: Model, images: np.ndarray, *, backbone: str | None = None, detector: None = None, flip: bool = False
) -> np.ndarray: ...


@overload
def embed(
    model: Model,
    images: str | Path | Manifest,
    *,
    backbone: str | None = None,
    detector: str | Path | None = None,
    flip: bool = False,
) -> Side: ...


def embed(
    model: Model,
    images: np.ndarray | str | Path | Manifest,
    *,
    backbone: str | None = None,
    detector: str | Path | None = None,
    flip: bool = False,
) -> np.ndarray | Side:
    """Embed aligned crops, or with a detector photos.

    Args:
        model: Whatever `facexfer.load` opens: a network, a run folder, an ONNX file, weights with `backbone`.
        images: Crops (N, H, W, 3) uint8 RGB, such as (N, 112, 112, 3); a manifest or its file; a folder that
            `facexfer.prepare` made; or a folder of pictures, in a folder per identity where that is known.
        backbone: The network's name, for foreign weights.
        detector: For a folder of photos: an ONNX file (YuNet or InsightFace), or the name of an InsightFace pack. Each
            photo's largest, most central face is aligned; photos without a face are left out with a warning.
        flip: Add the embedding of the mirrored crop.

    Returns:
        Of an array, the embeddings (N, D) float32, of the network's own length. Of files, a `Side`: `embeddings`
        (N, D) with `labels` (N,), `captures` (N,) and `images` (N) that tell whose they are, in the manifest's order
        or that of the paths.

    Raises:
        InputError: If the model is unfit, a picture is no crop of the network's size (with a detector: no photo has a
            face), or the array has another shape.

    Example:
        >>> from facexfer.backbones import create_backbone
        >>> crops = np.zeros((2, 112, 112, 3), np.uint8)
        >>> embed(create_backbone("mobilefacenet"), crops).shape
        (2, 128)
        >>> embed(create_backbone("mobilefacenet"), crops[:, :, :96])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facexfer.errors.InputError: expected crops (N, 112, 112, 3) uint8 RGB, got (2, 112, 96, 3) ...
    """
    embedder = load(model, backbone, flip=flip)
    if isinstance(images, np.ndarray):
        if detector is not None:
            raise InputError("expected a folder of photos with detector, got an array of crops; leave detector out")
        return embed_array(embedder, images)
    if detector is None:
        return embed_side(embedder, find_faces(images))
    if isinstance(images, Manifest) or not Path(images).is_dir():
        raise InputError(f"expected a folder of photos with detector, got {images}; leave detector out")
    return _embed_photos(embedder, Path(images), str(detector))


def embed_array(embedder: Embedder, crops: np.ndarray) -> np.ndarray:
    """Embed crops from an array, a batch at a time.

    Args:
        embedder: What embeds them.
        crops: (N, H, W, 3) uint8 RGB of the embedder's size.

    Returns:
        (N, D) float32.

    Raises:
        InputError: If the shape or the type differs.
    """
    height, width = embedder.input_size
    if crops.ndim != 4 or not len(crops) or crops.shape[1:] != (height, width, 3) or crops.dtype != np.uint8:
        raise InputError(
            f"expected crops (N, {height}, {width}, 3) uint8 RGB, got {crops.shape} {crops.dtype}; align them first"
        )
    return np.concatenate([embedder.embed(crops[at : at + _BATCH]) for at in range(0, len(crops), _BATCH)])


def _embed_photos(embedder: Embedder, folder: Path, detector: str) -> Side:
    """Detect, align and embed the faces of a folder; nothing of it stays but the embeddings."""
    # Pictures in no folder of a person's are embedded too; what is no file, or lies elsewhere, stays out.
    entries = [
        replace(entry, problem=None) if entry.problem is not None and entry.problem[0] == _NO_IDENTITY else entry
        for entry in find_photos(folder)
    ]
    with tempfile.TemporaryDirectory() as place:
        made = prepare(entries, Path(place) / "crops", CropOptions(embedder.input_size), detector)
        rows = list(zip(made.entries, made.records, made.crops, strict=True))
        kept = [(entry, Path(place) / "crops" / crop) for entry, record, crop in rows if not record.reason]
        lost = [f"{entry.name} ({record.reason})" for entry, record, _ in rows if record.reason]
        if not kept:
            raise InputError(f"{folder}: expected a face in some photo, found none: {', '.join(lost[:_SHOWN])}")
        embeddings = embed_images(embedder, [crop for _, crop in kept])
    if lost:
        shown = first_of(lost, _SHOWN)
        warnings.warn(
            f"{len(lost)} of {len(rows)} photos gave no crop and are left out: {shown}", DataWarning, stacklevel=3
        )
    images = tuple(as_image(entry) for entry, _ in kept)
    labels = np.array([image.identity for image in images])
    return Side(embeddings, labels, np.full(len(images), None, dtype=object), images)
