"""The faces that a user names: a manifest, a prepared folder, or a folder per identity."""

from pathlib import Path

from facexfer.data.layouts import LAYOUTS, LayoutOptions, PhotoEntry
from facexfer.data.manifest import FaceImage, Manifest, read_manifest
from facexfer.errors import InputError

MANIFEST = "images.csv"
"""What `facexfer.prepare` calls the manifest of a folder."""
UNKNOWN = "all"
"""Split and modality of pictures about which nothing else is known."""


def find_faces(images: str | Path | Manifest) -> Manifest:
    """Find the crops that a user names.

    Args:
        images: A manifest or its file; a folder with ``images.csv``; or a folder of crops in a folder per identity.

    Returns:
        The manifest. Of a folder without one, split and modality are ``all``; identities are the folders' names, and
        empty for pictures that are in none.

    Raises:
        InputError: If there is no such file or folder, or no usable picture in it.
    """
    if isinstance(images, Manifest):
        return images
    place = Path(images)
    if not place.is_dir():
        return read_manifest(place)
    if (place / MANIFEST).is_file():
        return read_manifest(place / MANIFEST)
    return Manifest(place / MANIFEST, tuple(map(as_image, find_photos(place))))


def find_photos(folder: Path) -> tuple[PhotoEntry, ...]:
    """List the pictures in a folder, in the order of their paths.

    Args:
        folder: In it, a folder per identity, or pictures of unknown identity.

    Returns:
        One entry per picture.

    Raises:
        InputError: If the folder holds no picture, or one cannot be used.
    """
    entries = tuple(LAYOUTS["folders"](folder, LayoutOptions(UNKNOWN)))
    for entry in entries:
        if entry.problem is not None and entry.identity:
            raise InputError(f"{entry.source}: expected a picture, got {entry.problem[0]}: {entry.problem[1]}")
    return entries


def as_image(entry: PhotoEntry) -> FaceImage:
    """Take a picture of a folder for a row of a manifest."""
    return FaceImage(entry.source, entry.identity, entry.modality, entry.split or UNKNOWN)
