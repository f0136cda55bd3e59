"""InsightFace's verification sets (``lfw.bin``, ``agedb_30.bin``): pairs of photos in an untrusted pickle."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facexfer.data.layouts.array_pickle import read_array_pickle
from facexfer.data.layouts.entry import LayoutOptions, PhotoEntry, register_layout
from facexfer.errors import InputError


@register_layout("insightface-bin", reads=("modality",))
def insightface_bin(root: Path, options: LayoutOptions) -> Iterator[PhotoEntry]:
    """List a ``.bin``: photos 2i and 2i + 1 are a pair, flag i says whether of one person.

    The file has no identities, only its own pairs can be compared: ``pairs.csv`` lists them for ``evaluate --pairs``.
    An identity here stands for one pair, or one photo of a pair of two people. The photos are aligned crops:
    prepare them with ``--pre-cropped``.

    Args:
        root: The ``.bin`` file.
        options: The modality.

    Yields:
        One entry per photo, with its pair.

    Raises:
        InputError: If the file is missing, is no such set, or holds anything but photos and flags.
    """
    if not root.is_file():
        raise InputError(f"{root}: expected a .bin file, found none; check the path")
    try:
        pictures, flags = _checked(read_array_pickle(root.read_bytes()))
        files = [_bytes(picture) for picture in pictures]
    except InputError as error:
        raise InputError(f"{root}: {error}") from error
    for index, data in enumerate(files):
        pair, same = index // 2, bool(flags[index // 2])
        identity = f"pair-{pair:06d}" if same else f"pair-{pair:06d}-{index % 2 + 1}"
        yield PhotoEntry(
            f"{pair:06d}-{index % 2 + 1}.jpg", root, identity, options.modality, data=data,
            pair=(pair, same),
        )  # fmt: skip


def _checked(value: Any) -> tuple[list[Any], list[Any]]:
    if not (isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, list) for part in value)):
        raise InputError("expected a list of pictures and a list of flags; is it a verification set?")
    pictures, flags = value
    if len(pictures) != 2 * len(flags):
        raise InputError(f"expected two pictures per flag, got {len(pictures)} and {len(flags)}; copy the file again")
    odd = [kind for kind in map(type, pictures) if kind not in (bytes, np.ndarray)]
    if odd or any(not isinstance(flag, bool | int) or flag not in (0, 1) for flag in flags):
        raise InputError("expected pictures as bytes and flags as true or false; is it a verification set?")
    return pictures, flags


def _bytes(picture: bytes | np.ndarray) -> bytes:
    # An array of one row or column holds an encoded file.
    if isinstance(picture, np.ndarray) and picture.ndim in (2, 3) and min(picture.shape[:2]) > 1:
        # A decoded photo, RGB; given on as a file like all the others.
        if picture.ndim == 3 and picture.shape[2] not in (1, 3):
            raise InputError(f"expected pictures of 1 or 3 colours, got an array of {picture.shape}; export them again")
        return bytes(cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)[1])
    return bytes(picture)
