"""Several manifests as one, with every person in one split: of both spectra, for example, prepared one by one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from facexfer.data.manifest import FaceImage, Manifest, check_csv_name, read_manifest, write_manifest
from facexfer.data.protocols import NOT_SPLIT, UNUSED
from facexfer.errors import InputError
from facexfer.files.folders import check_folder_of
from facexfer.files.links import real_path

POOL = "pool"
"""The split of those whom no manifest puts into one: `facexfer.recipe.PoolSection` looks there."""


@dataclass(frozen=True)
class Merged:
    """What became of several manifests.

    Attributes:
        manifest: All of their rows, in their order.
        moved: Pictures that were in another split than their person is now in; those without one do not count.
    """

    manifest: Manifest
    moved: int


def merge_manifests(manifests: Sequence[Path], out: Path) -> Merged:
    """Write the rows of several manifests into a new one.

    A person is in the split that the first manifest with one for them says: pictures of the others follow, so that
    nobody is trained on in one spectrum and measured in the other. A person without any is in the split ``pool``.
    Pictures that a protocol leaves out (split ``unused``) stay out.

    Args:
        manifests: The files; the first one's splits count most.
        out: A new CSV; it refers to the same pictures.

    Returns:
        What was written.

    Raises:
        InputError: If a manifest is bad, there is no split to follow, a person is in two splits of one manifest, a
            picture is listed twice, the file exists, or its name says Parquet.
    """
    if len(manifests) < 2:
        raise InputError(f"expected two or more manifests to merge, got {len(manifests)}; name them all")
    if out.exists():
        raise InputError(f"{out}: expected a new file, it exists; remove it or give another --out")
    check_csv_name(out)
    check_folder_of(out)
    parts = [read_manifest(path) for path in manifests]
    _check_once(parts)
    splits: dict[str, str] = {}
    for part in parts:
        splits = _decided(part) | splits
    if not splits:
        raise InputError(
            f"expected a manifest with splits among {', '.join(map(str, manifests))}, all of their pictures are in "
            f"'{NOT_SPLIT}'; split one first (facexfer split), or prepare its photos with --protocol"
        )
    images, moved = [], 0
    for image in (image for part in parts for image in part.images):
        split = UNUSED if image.split == UNUSED else splits.get(image.identity, POOL)
        moved += image.split not in (split, NOT_SPLIT)
        images.append(replace(image, split=split))
    write_manifest(out, images)
    return Merged(Manifest(out, tuple(images)), moved)


def _check_once(parts: Sequence[Manifest]) -> None:
    known: dict[Path, Path] = {}
    for part in parts:
        for image in part.images:
            picture = real_path(image.path)
            if picture in known:
                raise InputError(
                    f"{part.path}, line {image.line}: expected each picture once, {image.path} is in "
                    f"{known[picture]} as well; take it out of one"
                )
            known[picture] = part.path


def _decided(part: Manifest) -> dict[str, str]:
    """Which split each person is in, for those who are in one."""
    splits: dict[str, FaceImage] = {}
    for image in part.images:
        if image.split in (NOT_SPLIT, UNUSED):
            continue
        other = splits.setdefault(image.identity, image)
        if other.split != image.split:
            raise InputError(
                f"{part.path}, line {image.line}: expected every person in one split, {image.identity} is in "
                f"'{other.split}' (line {other.line}) and '{image.split}'; split by identity (facexfer split)"
            )
    return {identity: image.split for identity, image in splits.items()}
