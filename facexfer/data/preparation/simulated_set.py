"""A NIR rendering of every visible-light crop: a set of two modalities from one, for people without NIR photos."""

import errno
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from os.path import commonpath
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from facexfer.data.images import check_crops, read_crop, read_rgb
from facexfer.data.layouts import LAYOUTS, LayoutOptions
from facexfer.data.manifest import FaceImage, read_manifest, write_manifest
from facexfer.data.nir_simulation import SimulateNIR
from facexfer.data.pictures.depths import find_depths
from facexfer.data.protocols import NOT_SPLIT
from facexfer.errors import InputError
from facexfer.files.atomic import making_folder
from facexfer.files.links import real_path
from facexfer.files.names import clean_name
from facexfer.registry import unknown_name_message

VIS, NIR = "vis", "nir"
MANIFEST = "images.csv"
SIZES = ((112, 112), (112, 96))
"""(height, width) of the crops that networks here take, in pixels."""

STRENGTHS: Mapping[str, Mapping[str, Any]] = {
    "mild": {
        "red_range": (0.55, 0.725), "lift_range": (0.2, 0.5), "softness_range": (0.3, 0.75),
        "fall_off_range": (0.1, 0.35), "blur_range": (0.0, 0.4), "exposure_range": (0.8, 1.2),
        "gain_range": (1.0, 8.5), "read_noise_range": (2.0, 7.0), "bits_range": (7, 8),
    },
    "strong": {
        "red_range": (0.725, 0.9), "lift_range": (0.5, 0.8), "softness_range": (0.75, 1.2),
        "fall_off_range": (0.35, 0.6), "blur_range": (0.4, 0.8), "exposure_range": (0.6, 1.4),
        "gain_range": (8.5, 16.0), "read_noise_range": (7.0, 12.0), "bits_range": (6, 7),
    },
}  # fmt: skip
"""Strength -> what `SimulateNIR` draws from: the gentler or the harder half of each of its ranges. Exposure errs both
ways: mild has the middle half, strong all of it."""

# What says that the folder cannot be made under its name.
_UNFIT = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EACCES, errno.EROFS)


def simulate_nir(image: np.ndarray, strength: str, seed: int) -> np.ndarray:
    """Render a visible-light crop as a near-infrared camera might have seen it.

    Args:
        image: (H, W, 3) uint8, RGB.
        strength: One of `STRENGTHS`.
        seed: The same seed gives the same rendering.

    Returns:
        (H, W, 3) uint8 with three equal channels. Not a measurement: see `facexfer.data.nir_simulation`.

    Raises:
        InputError: If the strength is unknown.

    Example:
        >>> grey = simulate_nir(np.full((112, 112, 3), 128, np.uint8), "mild", seed=0)
        >>> grey.shape, bool((grey == grey[:, :, :1]).all())
        ((112, 112, 3), True)
    """
    if strength not in STRENGTHS:
        raise InputError(unknown_name_message("strength", strength, STRENGTHS))
    transform = SimulateNIR(**STRENGTHS[strength])
    transform.set_random_seed(seed)
    return np.asarray(transform(image=image)["image"])


def write_simulated_set(
    crops: str | Path,
    out: str | Path,
    strength: str,
    modality: str = VIS,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Copy visible-light crops into a new folder, each with its NIR rendering, and write the manifest of both.

    A rendering depends on the strength and on the bytes of the crop's file alone, not on its name, its place or the
    other files: a crop that appears in two sets is rendered alike in both. The two pictures of a crop share their
    `capture`.

    Args:
        crops: A manifest, a folder that holds one as ``images.csv``, or a folder of crops with one folder per person.
        out: A new folder: ``vis/``, ``nir/`` and ``images.csv``; it appears only when it is complete.
        strength: One of `STRENGTHS`.
        modality: Of the manifest's images that are rendered; its other images are left out.
        advance: Told (done, all) after each crop.

    Returns:
        The manifest of both modalities.

    Raises:
        InputError: If the crops are unfit, e.g. photos that are not aligned yet, or the folder exists.
    """
    crops, out = Path(crops), Path(out)
    if strength not in STRENGTHS:
        raise InputError(unknown_name_message("strength", strength, STRENGTHS))
    if out.exists():
        raise InputError(f"{out}: expected a new folder, it exists; remove it or give another --out")
    if clean_name(modality) == NIR:
        raise InputError(f"expected the modality of visible-light crops, got {NIR}, which is simulated; name theirs")
    images = _listed(crops, modality, out)
    names = _names(images)
    size = _size_of(images[0].path)
    check_crops(images, size)
    try:
        with making_folder(out) as folder:
            rows: list[FaceImage] = []
            depths = find_depths(images)
            shots = Counter(name.with_suffix("") for name in names)
            for done, (image, name) in enumerate(zip(images, names, strict=True), start=1):
                shot = name.with_suffix("")
                named = replace(image, capture=image.capture or str(shot if shots[shot] == 1 else name))
                rows += _write_both(named, name, folder, strength, read_crop(image.path, size, depths.usual(image)))
                advance(done, len(images))
            write_manifest(folder / MANIFEST, sorted(rows, key=lambda row: row.modality != VIS))
    except OSError as error:
        if error.errno not in _UNFIT:
            raise
        raise InputError(f"{out}: expected a new folder, got: {error.strerror}; give another --out") from error
    return out / MANIFEST


def _listed(crops: Path, modality: str, out: Path) -> tuple[FaceImage, ...]:
    if not crops.exists():
        raise InputError(f"{crops}: expected a manifest or a folder of crops, found none; check the path")
    manifest = crops / MANIFEST if crops.is_dir() else crops
    if manifest.is_file():
        return read_manifest(manifest).select(modality=modality).images
    if modality != VIS:
        raise InputError(
            f"{crops}: expected a manifest with --modality {modality}, got a folder without {MANIFEST}, whose crops "
            f"are taken as {VIS}; leave it out"
        )
    if real_path(crops) in real_path(out).parents:
        raise InputError(f"{out}: expected a folder outside of {crops}, or it would count as a person; move --out")
    return tuple(_in_folders(crops))


def _in_folders(root: Path) -> Iterator[FaceImage]:
    for entry in LAYOUTS["folders"](root, LayoutOptions(modality=VIS)):
        if entry.problem is not None:
            raise InputError(
                f"{root / entry.name}: expected crops in one folder per person, got {entry.problem[0]}: "
                f"{entry.problem[1]}; move it, or prepare the photos first (facexfer prepare)"
            )
        yield FaceImage(entry.source, entry.identity, VIS, NOT_SPLIT)


def _names(images: tuple[FaceImage, ...]) -> list[PurePosixPath]:
    """Name the copies as the crops are named below the folder that holds them all."""
    # Without "..", by which a copy's name would lead out of the folder, or two names to one file.
    paths = [Path(os.path.abspath(image.path)) for image in images]
    home = Path(commonpath([path.parent for path in paths]))
    names = [PurePosixPath(path.relative_to(home).as_posix()) for path in paths]
    taken: dict[str, Path] = {}
    for path, name in zip(paths, names, strict=True):
        for written in (f"{VIS}/{name}", f"{NIR}/{_rendered(name)}"):
            other = taken.setdefault(written.casefold(), path)
            if other is path:
                continue
            if other == path:
                raise InputError(f"{path}: expected each crop once, got it twice; take a row out of the list")
            raise InputError(
                f"{path}: expected crops with names of their own, got the same name as {other}; rename one, or "
                "take it out of the list"
            )
    return names


def _rendered(name: PurePosixPath) -> str:
    return f"{name}" if name.suffix == ".png" else f"{name}.png"


def _size_of(path: Path) -> tuple[int, int]:
    height, width = read_rgb(path).shape[:2]
    if (height, width) not in SIZES:
        sizes = " or ".join(f"{size[1]}x{size[0]}" for size in SIZES)
        raise InputError(
            f"{path}: expected an aligned crop of {sizes} pixels, got {width}x{height}; prepare the photos first: "
            "facexfer prepare PHOTOS --layout folders --detector buffalo_sc --modality vis --out crops"
        )
    return height, width


def _write_both(
    image: FaceImage, name: PurePosixPath, folder: Path, strength: str, crop: np.ndarray
) -> tuple[FaceImage, FaceImage]:
    seed = int.from_bytes(hashlib.sha256(image.path.read_bytes()).digest()[:4], "big")
    picture = simulate_nir(crop, strength, seed)
    vis, nir = folder / VIS / name, folder / NIR / _rendered(name)
    for path in (vis, nir):
        path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image.path, vis)
    # Encoded here and written by Python, which says why it could not; OpenCV's own writing only returns False.
    nir.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))[1].tobytes())
    return (
        replace(image, path=vis, modality=VIS),
        # No camera took it.
        replace(image, path=nir, modality=NIR, camera=None),
    )
